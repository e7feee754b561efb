"""The types of the page's documents in TypeScript are those of the structs in Python."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from convtrace.render.documents.document import TraceDocument
from convtrace.render.page.files import PageDocument

SOURCE = Path(__file__).resolve().parents[2] / "web" / "src" / "document.ts"
KINDS = {"string": "string", "number": "number", "integer": "number", "boolean": "boolean"}
ALIASES = {"Num": {"number", "string"}, "Verdict": {"string"}, "Note": {"array"}}


def interfaces() -> dict[str, dict[str, set[str]]]:
    """Read the fields of each interface, and which JSON types each may have."""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", "", SOURCE.read_text(encoding="utf-8"), flags=re.DOTALL)
    found: dict[str, dict[str, set[str]]] = {}
    for name, body in re.findall(r"export interface (\w+) \{(.*?)\n\}", text, re.DOTALL):
        fields = re.findall(r"^\s+(\w+): (.+);$", body, re.MULTILINE)
        found[name] = {field: typescript(kind) for field, kind in fields}
    return found


def typescript(kind: str) -> set[str]:
    """Say which JSON types a type of TypeScript has."""
    found: set[str] = set()
    for part in re.split(r"\s\|\s(?![^(]*\))", kind):
        if part.endswith("[]"):
            found.add("array")
        elif part.startswith("Record<") or part.endswith("Document"):
            found.add("object")
        elif part in ALIASES:
            found |= ALIASES[part]
        else:
            found.add("string" if part.startswith('"') else part)
    return found


def json_types(schema: dict[str, Any], definitions: dict[str, Any]) -> set[str]:
    """Say which JSON types a schema allows."""
    if "anyOf" in schema:
        return set().union(*(json_types(one, definitions) for one in schema["anyOf"]))
    if "$ref" in schema:
        return json_types(definitions[schema["$ref"].rpartition("/")[2]], definitions)
    if "enum" in schema or "const" in schema:
        values = schema.get("enum", [schema.get("const")])
        return {"null" if value is None else "string" for value in values}
    kind = schema["type"]
    kinds = kind if isinstance(kind, list) else [kind]
    return {KINDS.get(one, one) for one in kinds}


def definitions() -> dict[str, Any]:
    return msgspec.json.schema(PageDocument)["$defs"] | msgspec.json.schema(TraceDocument)["$defs"]


@pytest.mark.parametrize("name", sorted(definitions()))
def test_each_struct_has_an_interface_with_the_same_fields_and_types(name: str) -> None:
    schema = definitions()[name]
    expected = {
        field: json_types(kind, definitions()) for field, kind in schema["properties"].items()
    }
    assert interfaces()[name] == expected
