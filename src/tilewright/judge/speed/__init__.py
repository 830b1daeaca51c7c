"""Which of several sides is faster: clocks, samples, and the verdict with a known error rate."""
