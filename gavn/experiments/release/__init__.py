"""What is made before a release: weights, their figures and cards, and the numbers that choose among them."""
