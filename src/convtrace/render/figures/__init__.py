"""Figures: one file a kind. Each looks numbers up and lays them out; none computes a number."""
