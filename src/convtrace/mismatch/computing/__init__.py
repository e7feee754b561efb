"""Ways to compute a convolution, right or wrong, and what follows its sums."""
