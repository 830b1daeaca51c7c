"""The stages a candidate goes through, as data."""
