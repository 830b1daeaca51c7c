"""By what means a candidate gets its answer, and what a policy allows of it."""
