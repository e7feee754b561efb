"""Benchmarks: `make bench` runs them and writes the results page."""
