"""Readers of runs: each translates what a runtime did into steps, then stops."""
