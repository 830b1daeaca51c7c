"""A Triton kernel optimization specialist."""
