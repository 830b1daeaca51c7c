"""Quick times of many candidates in one process: which few are worth the judge's time. Proves nothing."""
