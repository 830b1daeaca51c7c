"""What a candidate is tried on: kinds of values, sizes, layouts."""
