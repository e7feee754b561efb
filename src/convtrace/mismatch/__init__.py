"""`ct.diff`: is it rounding or a bug, and which bug."""
