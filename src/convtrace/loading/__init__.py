"""Readers of what a command is given: models, arrays, images and weights.

Files from strangers are data. Nothing here unpickles, every size is checked before memory is
taken for it, and every trouble with a file is a `FileError` that says what to do next.
"""
