"""Spreadsheets with live formulas."""
