"""Write the JSON Schema of every document that convtrace writes: docs/schema/convtrace.schema.json.

    python scripts/make_schema.py

The schema follows from the structs that write the documents, so it cannot say anything else. A
test compares the file with what this writes.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from convtrace.render.documents.answers import SplitDocument, UsesDocument
from convtrace.render.documents.diff_document import ModelReportDocument, ReportDocument
from convtrace.render.documents.document import ReceiptDocument, TraceDocument
from convtrace.storage import SavedTrace

FILE = Path(__file__).resolve().parents[1] / "docs" / "schema" / "convtrace.schema.json"

DOCUMENTS = (
    ReceiptDocument,
    TraceDocument,
    SplitDocument,
    UsesDocument,
    ReportDocument,
    ModelReportDocument,
    SavedTrace,
)
"""What a file can hold. `format` in the file says which one it is."""


def schema() -> str:
    """Return the text of the schema."""
    (references, components) = msgspec.json.schema_components(
        DOCUMENTS, ref_template="#/$defs/{name}"
    )
    for struct, component in components.items():
        if "description" in component:
            _describe(component)
        if struct in {document.__name__ for document in DOCUMENTS}:
            component["required"] += ["format", "version"]
    whole: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Documents of convtrace",
        "description": "Arrays are flat lists in row-major order beside their shape. NaN, "
        "infinities and whole numbers beyond 2^53 are texts.",
        "oneOf": list(references),
        "$defs": components,
    }
    return json.dumps(whole, indent=2, ensure_ascii=False) + "\n"


def _describe(component: dict[str, Any]) -> None:
    """Move what a docstring says of each attribute to the property itself."""
    head, _, attributes = component["description"].partition("Attributes:")
    component["description"] = " ".join(head.split())
    for entry in re.split(r"\n\s{0,8}(?=\w+: )", "\n" + attributes):
        name, colon, text = entry.strip().partition(": ")
        camel = re.sub(r"_(\w)", lambda match: match[1].upper(), name)
        if colon and camel in component.get("properties", {}):
            component["properties"][camel]["description"] = " ".join(text.split())


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(schema(), encoding="utf-8")
    print(FILE)
