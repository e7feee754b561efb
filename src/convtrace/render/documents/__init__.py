"""Files that programs read: JSON, CSV, NumPy arrays, saved traces."""
