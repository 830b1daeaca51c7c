"""Decides whether a candidate computes the same, and whether it is faster. Nothing else may say so."""
