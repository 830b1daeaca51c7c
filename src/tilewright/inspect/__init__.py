"""What a candidate's launches need on a target GPU, read off binaries compiled for it."""
