"""Figures as files: SVG, PNG, PDF, TikZ, with fonts that have every letter."""
