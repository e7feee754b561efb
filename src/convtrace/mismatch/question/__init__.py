"""What `ct.diff` was asked: both sides, read into one problem."""
