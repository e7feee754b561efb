"""Receipts, answers and reports as text, for terminals and for `print`."""
