"""The page, its numbers, and its frame in notebooks."""
