"""Sphinx settings of both languages; `make docs` passes the language."""

import re
from typing import Any

import convtrace

project = "convtrace"
author = "The convtrace contributors"
copyright = f"2026, {author}"  # noqa: A001 - the name that Sphinx reads
version = release = convtrace.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
napoleon_custom_sections = ["Sources"]
napoleon_numpy_docstring = False
napoleon_use_ivar = True

html_theme = "furo"
html_title = "convtrace"
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0072B2", "color-brand-content": "#0072B2"},
    "dark_css_variables": {"color-brand-primary": "#56B4E9", "color-brand-content": "#56B4E9"},
}


def spell_for_sphinx(
    app: Any, what: str, name: str, obj: Any, options: Any, lines: list[str]
) -> None:
    """Turn `code` into ``code``, and a bar into a bar; leave doctests as they are.

    Docstrings are written for people who read them in an editor or by `help`.
    """
    doctest = False
    for number, line in enumerate(lines):
        doctest = bool(line.strip()) and (doctest or line.lstrip().startswith(">>>"))
        if not doctest:
            parts = re.split(r"(`+[^`]+`+)", line.replace("|", r"\|"))
            parts[1::2] = [f"``{part.strip('`')}``".replace(r"\|", "|") for part in parts[1::2]]
            lines[number] = "".join(parts)


def setup(app: Any) -> None:
    """Let docstrings be spelled for Sphinx before napoleon reads them."""
    app.connect("autodoc-process-docstring", spell_for_sphinx, priority=400)
