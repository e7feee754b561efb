"""Rounding or not: of each element, and of all of them together."""
