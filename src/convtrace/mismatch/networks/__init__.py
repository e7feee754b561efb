"""`ct.diff` for two networks: which step is which, the first wrong one, and why."""
