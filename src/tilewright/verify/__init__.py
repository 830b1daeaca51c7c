"""Checks what a run left behind: on paper, then once more on this machine."""
