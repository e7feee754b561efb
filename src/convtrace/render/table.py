"""One verb for every file: `thing.save("name.suffix")`; the suffix picks the renderer.

A new kind of file is a module in `convtrace.render` and a row in `RENDERERS`. A renderer takes the
thing and keyword options, looks numbers up, computes none, and returns the bytes of the file (for
a large one: what writes them to a stream):

    def receipt_svg(receipt: Receipt, *, lang: str = "en", theme: str = "light") -> bytes
"""

from __future__ import annotations

import difflib
import inspect
import numbers
import os
import reprlib
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from types import MappingProxyType
from typing import Any, BinaryIO, cast

import numpy as np

from convtrace.address import Address
from convtrace.errors import FileError, MissingDependencyError, UsageError
from convtrace.writing import check_writable, write_whole

Renderer = Callable[..., bytes | Callable[[BinaryIO], Any]]

RENDERERS: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "receipt": {
            ".html": "page.files:receipt_html",
            ".json": "documents.document:receipt_json",
            ".txt": "text.files:receipt_txt",
            ".csv": "documents.terms_csv:receipt_csv",
            ".svg": "pictures.svg_files:receipt_svg",
            ".png": "pictures.png:receipt_png",
            ".pdf": "pictures.pdf:receipt_pdf",
            ".tex": "equations.latex:receipt_tex",
            ".md": "equations.markdown:receipt_md",
            ".py": "code.files:receipt_py",
        },
        "trace": {
            ".convtrace": "documents.saved:trace_convtrace",
            ".html": "page.files:trace_html",
            ".json": "documents.document:trace_json",
            ".xlsx": "sheet.files:trace_xlsx",
            ".csv": "documents.terms_csv:trace_csv",
            ".gif": "animation.files:trace_gif",
            ".apng": "animation.files:trace_apng",
            ".webp": "animation.files:trace_webp",
            ".mp4": "animation.files:trace_mp4",
            ".webm": "animation.files:trace_webm",
            ".svg": "pictures.svg_files:trace_svg",
            ".png": "pictures.png:trace_png",
            ".pdf": "pictures.pdf:trace_pdf",
            ".tex": "pictures.tikz:trace_tex",
            ".py": "code.files:trace_py",
        },
        "split": {
            ".json": "documents.answers:split_json",
            ".npy": "documents.npy:split_npy",
            ".svg": "pictures.svg_files:split_svg",
            ".png": "pictures.png:split_png",
            ".pdf": "pictures.pdf:split_pdf",
            ".tex": "pictures.tikz:split_tex",
        },
        "uses": {
            ".json": "documents.answers:uses_json",
        },
        "report": {
            ".html": "documents.diff_document:report_html",
            ".json": "documents.diff_document:report_json",
            ".txt": "documents.diff_document:report_txt",
        },
    }
)
"""By kind of thing and suffix: the module in `convtrace.render`, and the function in it."""

EXTRAS: Mapping[str, str] = MappingProxyType(
    {
        "cairocffi": "figures",
        "cairosvg": "figures",
        "resvg_py": "figures",
        "av": "video",
        "anywidget": "widget",
        "starlette": "serve",
        "uvicorn": "serve",
        "xlsxwriter": "sheet",
    }
)
"""Packages that a renderer may need, and the extra of convtrace that brings each."""

PACKAGES: Mapping[str, str] = MappingProxyType({"PIL": "pillow", "resvg_py": "resvg-py"})
"""Names that packages are installed by, where they are imported by another one."""


def save(
    kind: str,
    thing: Any,
    file: str | os.PathLike[str],
    *,
    lang: str | None = None,
    theme: str = "light",
    **options: Any,
) -> None:
    """Write a thing to a file, whole or not at all.

    Args:
        kind: `receipt`, `trace`, `split` or `report`.
        thing: What is written.
        file: Name of the file; its suffix picks the renderer.
        lang: `en` or `ko`; None takes the locale's.
        theme: `light` or `dark`.
        **options: Further options of that renderer.

    Raises:
        UsageError: No renderer has this suffix, or it has no such option; the message lists them.
        MissingDependencyError: The renderer needs a package that is not installed.
        FileError: The file could not be written; what was there before is unchanged.
    """
    from convtrace.catalog import choose_language

    path = check_writable(file)
    if theme not in ("light", "dark"):
        raise UsageError(f"theme = {theme!r}\n  It is 'light' or 'dark'.")
    suffix = path.suffix.lower()
    render = renderer(kind, suffix)
    options = {"lang": choose_language(lang), "theme": theme, **options}
    try:
        content = render(thing, **_accepted(render, kind, suffix, options))
        write_whole(path, content)
    except MissingDependencyError:
        raise
    except ImportError as error:
        raise missing(suffix, error) from error
    except UnicodeEncodeError as error:  # half of a pair of UTF-16, which is no character
        raise FileError(
            f"cannot write {file}: a name or a text in it is no Unicode: {error.object!r}\n"
            "  Rename the module or the input that is called so."
        ) from error


def renderer(kind: str, suffix: str) -> Renderer:
    """Return the renderer of a suffix.

    Raises:
        UsageError: There is none; the message lists the suffixes that there are.
        MissingDependencyError: It needs a package that is not installed.
    """
    rows = RENDERERS[kind]
    row = rows.get(suffix)
    if row is None:
        near = difflib.get_close_matches(suffix, rows, n=1)
        hint = f" Did you mean {near[0]}?" if near else ""
        raise UsageError(
            f"cannot save a {kind} as {suffix or 'a file without a suffix'}\n"
            f"  The suffix picks the form: {', '.join(sorted(rows))}.{hint}"
        )
    module, function = row.split(":")
    try:
        return getattr(import_module(f"convtrace.render.{module}"), function)
    except MissingDependencyError:
        raise  # it says already what to install
    except ImportError as error:
        raise missing(suffix, error) from error


def check(kind: str, suffix: str, options: Mapping[str, Any]) -> None:
    """Raise, before anything slow, if a kind of thing cannot be saved so.

    Args:
        kind: As for `save`.
        suffix: Suffix of the file.
        options: Options of the renderer.

    Raises:
        UsageError: No renderer has this suffix, or it has no such option; the message lists them.
        MissingDependencyError: The renderer needs a package that is not installed.
    """
    _accepted(renderer(kind, suffix), kind, suffix, options)


def missing(what: str, error: ImportError) -> MissingDependencyError:
    """Say which package is missing, and how to install it."""
    imported = (error.name or "").split(".")[0]
    extra, package = EXTRAS.get(imported), PACKAGES.get(imported, imported)
    command = f'pip install "convtrace[{extra}]"' if extra else f"pip install {package}"
    return MissingDependencyError(
        f"{what} needs the package {package or error}, which is not installed\n  {command}"
    )


def _accepted(
    render: Renderer, kind: str, suffix: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options that a renderer takes; `lang` and `theme` may be left aside by it."""
    known = {
        name: str(parameter.annotation)
        for name, parameter in inspect.signature(render).parameters.items()
        if parameter.kind is inspect.Parameter.KEYWORD_ONLY
    }
    for name in options:
        if name not in known and name not in ("lang", "theme"):
            raise UsageError(
                f"{name} = {options[name]!r} is no option of a {kind} saved as {suffix}\n"
                f"  Its options: {', '.join(known) or 'none'}."
            )
    return {
        name: _of_type(name, value, known[name]) for name, value in options.items() if name in known
    }


def _of_type(name: str, value: Any, annotation: str) -> Any:
    """Return the value of an option, an address as text; raise if it is of another type."""
    if isinstance(value, Address):
        value = str(value)
    types = annotation.split(" | ")
    if any(kind not in _TYPES or _TYPES[kind][1](value) for kind in types):
        return value
    raise UsageError(
        f"{name} = {reprlib.repr(value)}\n  It is {' or '.join(_TYPES[kind][0] for kind in types)}."
    )


def _is_number(value: Any, kind: type) -> bool:
    return isinstance(value, kind) and not isinstance(value, bool | np.bool_)


def _are_texts(value: Any) -> bool:
    return isinstance(value, list | tuple) and all(
        isinstance(item, str) for item in cast("Sequence[Any]", value)
    )


_TYPES: Mapping[str, tuple[str, Callable[[Any], bool]]] = MappingProxyType(
    {
        "None": ("None", lambda value: value is None),
        "bool": ("True or False", lambda value: isinstance(value, bool | np.bool_)),
        "int": ("a whole number", lambda value: _is_number(value, numbers.Integral)),
        "float": ("a number", lambda value: _is_number(value, numbers.Real)),
        "str": ("a text", lambda value: isinstance(value, str)),
        "list[str]": ("a list of texts", _are_texts),
        "Sequence[str]": ("a list of texts", _are_texts),
    }
)
"""By type of an option, as its renderer writes it: what it is in words, and a check."""
