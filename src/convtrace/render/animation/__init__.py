"""The window walking over the input, as moving pictures."""
