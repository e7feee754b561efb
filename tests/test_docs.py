"""Every example in the README files and the docs is run, and what it shows is compared.

What a fenced block is decides what happens to it:

    python   executed; a block that begins with the comment `# name.py` is saved under that name
    pycon    run as a doctest, as is a python block with `>>>`
    console  each `$ convtrace …` or `$ python …` is run, and its output compared; a line that is
             only `…` stands for any lines
    others   left alone, e.g. `sh` for commands that a test should not run

The blocks of one document run in order, in one empty folder, and share their variables.
"""

import doctest
import os
import re
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/??/**/*.md")])
FENCE = re.compile(
    r"^(?P<indent> *)(?P<fence>`{3,}|~{3,})(?P<info>.*)\n"
    r"(?P<text>(?:.*\n)*?)"
    r"(?P=indent)(?P=fence) *$",
    re.MULTILINE,
)
FILE_NAME = re.compile(r"# ([\w/]+\.py)\n")
LINK = re.compile(r"(?<!`)\]\((?!\w+:)([^)#\s]+)(?:#[^)\s]*)?\)")
SECONDS = 300


@dataclass(frozen=True)
class Block:
    """A fenced block of a Markdown document."""

    language: str
    text: str
    line: int


def blocks(markdown: str) -> Iterator[Block]:
    for match in FENCE.finditer(markdown):
        words = match["info"].split()
        yield Block(
            words[0] if words else "",
            textwrap.dedent(match["text"]),
            markdown.count("\n", 0, match.start("text")) + 1,
        )


def run_document(markdown: str, folder: Path) -> list[str]:
    """Run the examples of a document and return what is wrong, one message each."""
    problems: list[str] = []
    variables: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(markdown):
        found: list[str] = []
        if block.language == "console":
            found = run_console(block.text, folder)
        elif block.language in ("python", "pycon"):
            found = run_python(block.text, folder, variables)
        problems += [f"line {block.line}: {problem}" for problem in found]
    return problems


def run_python(text: str, folder: Path, variables: dict[str, Any]) -> list[str]:
    if ">>>" in text:
        test = doctest.DocTestParser().get_doctest(text, variables, "example", None, 0)
        report: list[str] = []
        runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS, verbose=False)
        runner.run(test, out=report.append, clear_globs=False)
        variables.update(test.globs)
        return ["".join(report)] if runner.failures else []
    named = FILE_NAME.match(text)
    if named:
        (folder / named[1]).write_text(text, encoding="utf-8")
    scope = {"__name__": "example"} if named else variables
    try:
        exec(compile(text, named[1] if named else "example", "exec"), scope)
    except Exception as error:  # noqa: BLE001 - whatever an example raises is its fault
        return [f"{type(error).__name__}: {error}\n{text}"]
    return []


def run_console(text: str, folder: Path) -> list[str]:
    problems: list[str] = []
    for command, expected in commands(text):
        if command.split()[0] not in ("convtrace", "python"):
            problems.append(f"not run: $ {command}\n  Put it into a ```sh block.")
            continue
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            cwd=folder,
            env={**os.environ, "PATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=SECONDS,
            check=False,
        )
        shown = done.stdout.decode("utf-8")
        if done.returncode:
            status = done.returncode
            problems.append(f"$ {command}\nended with status {status} and printed\n{shown}")
        elif not matches(expected, shown):
            problems.append(f"$ {command}\nshows\n{expected}\nbut prints\n{shown}")
    return problems


def commands(text: str) -> Iterator[tuple[str, str]]:
    """Split a console block into commands and the output that each shows."""
    for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
        command, *output = re.split(r"(?<!\\)\n", part, maxsplit=1)
        yield command.replace("\\\n", ""), "".join(output)


def matches(expected: str, shown: str) -> bool:
    """Compare outputs line by line, without trailing blanks; `…` stands for any lines."""

    def lines(text: str) -> list[str]:
        return [line.rstrip() for line in text.strip("\n").splitlines()]

    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else re.escape(line) + r"\n" for line in lines(expected)
    )
    return re.fullmatch(pattern, "\n".join([*lines(shown), ""])) is not None


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def forget_modules_in(folder: Path) -> None:
    for name, module in list(sys.modules.items()):
        if (getattr(module, "__file__", None) or "").startswith(str(folder)):
            del sys.modules[name]


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_examples_do_what_they_show(
    document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)  # examples import the files that they saved
    forget_modules_in(tmp_path.parent)  # another test may have loaded a file of the same name
    problems = run_document(document.read_text(encoding="utf-8"), tmp_path)
    forget_modules_in(tmp_path)
    assert not problems, f"{name_of(document)}\n\n" + "\n\n".join(problems)


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_to_files_lead_somewhere(document: Path) -> None:
    text = FENCE.sub("", document.read_text(encoding="utf-8"))
    missing = [link for link in LINK.findall(text) if not (document.parent / link).exists()]
    assert not missing


def test_both_languages_have_the_same_pages() -> None:
    english, korean = (
        {path.relative_to(pages) for path in pages.rglob("*.md")}
        for pages in (ROOT / "docs" / "en", ROOT / "docs" / "ko")
    )
    assert english == korean
    assert english


@pytest.mark.parametrize(
    ("example", "problem"),
    [
        ("```python\nassert 1 == 2\n```\n", "line 2: AssertionError"),
        ("```python\n>>> 1 + 1\n3\n```\n", "Expected:\n    3\nGot:\n    2"),
        ("```pycon\n>>> 1 + 1\n3\n```\n", "Expected:\n    3\nGot:\n    2"),
        ("```console\n$ python -c 'print(1)'\n2\n```\n", "shows\n2\n\nbut prints\n1"),
        ("```console\n$ python -c 'exit(3)'\n```\n", "ended with status 3"),
        ("```console\n$ ls\n```\n", "not run: $ ls"),
        ("- a list\n  ```python\n  1 / 0\n  ```\n", "line 3: ZeroDivisionError"),
    ],
)
def test_an_example_that_is_wrong_is_a_problem(example: str, problem: str, tmp_path: Path) -> None:
    (found,) = run_document(example, tmp_path)
    assert problem in found


@pytest.mark.parametrize(
    "example",
    [
        "```python\n>>> x = 1\n>>> x + 1\n2\n```\ntext\n```python\nassert x == 1\n```\n",
        "```python\n# my.py\nx = 5\n```\n\n```console\n$ python -c 'import my; print(my.x)'\n5\n"
        "```\n",
        "```console\n$ python -c \\\n    'print(1)'\n1\n$ python -c 'print(2)'\n2\n```\n",
        "```console\n$ python -c 'print(*range(9), sep=chr(10))'\n0\n…\n8\n```\n",
        "```text\n>>> 1 / 0\n```\n",
        "````text\n```python\n1 / 0\n```\n````\n",
    ],
)
def test_an_example_that_is_right_is_none(example: str, tmp_path: Path) -> None:
    assert run_document(example, tmp_path) == []


def test_output_with_a_line_too_many_does_not_match() -> None:
    assert matches("1\n2\n", "1\n2  \n\n")
    assert not matches("1\n2\n", "1\n2\n3\n")
    assert not matches("1\n…\n4\n", "1\n2\n3\n")
    assert not matches(" 1\n", "1\n")
