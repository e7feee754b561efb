"""Receipts as equations: TeX, LaTeX, Markdown."""
