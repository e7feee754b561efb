"""Receipts as plain text files."""

from __future__ import annotations

from convtrace.receipt import Receipt
from convtrace.render.text.receipt import receipt_text


def receipt_txt(receipt: Receipt, *, lang: str = "en", limit: int | None = None) -> bytes:
    """Write a receipt as text, with every term unless `limit` says otherwise."""
    return (receipt_text(receipt, lang=lang, limit=limit) + "\n").encode("utf-8")
