"""The verbs of the command line, one file each, and what they share.

Only click is imported when these modules are: `convtrace --help` has to be quick. PyTorch, NumPy
and rich come in when a verb runs.
"""
