"""What is right: the float64 reference, the budget, and the comparison with it."""
