"""A small drawing: boxes, texts and lines in points, laid out by measured widths."""
