"""Triton's interpreter, extended and watched."""
