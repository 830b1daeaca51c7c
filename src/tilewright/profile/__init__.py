"""What Nsight Compute reads of a candidate's kernels while one forward runs on the GPU."""
