"""Renderers: each takes a receipt or a trace and shows it. None of them computes a number."""
