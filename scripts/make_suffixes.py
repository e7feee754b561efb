"""Write the table of suffixes into docs/*/saving.md: what `thing.save("name.suffix")` can write.

    python scripts/make_suffixes.py

The rows follow from `convtrace.render.table.RENDERERS`. A test compares the pages with what this
writes, and names a suffix that has no words here yet.
"""

from __future__ import annotations

from pathlib import Path

from convtrace.render.table import RENDERERS

DOCS = Path(__file__).resolve().parents[1] / "docs"
BEGIN, END = "<!-- suffixes: written by scripts/make_suffixes.py -->", "<!-- end of suffixes -->"

HEADS = {"en": ("suffix", "of", "what it is"), "ko": ("확장자", "대상", "내용")}

THINGS = {
    "en": {
        "receipt": "receipt",
        "trace": "trace",
        "split": "contributions",
        "uses": "uses",
        "report": "report",
    },
    "ko": {
        "receipt": "계산 내역",
        "trace": "추적",
        "split": "기여분",
        "uses": "쓰임",
        "report": "보고서",
    },
}

WORDS = {
    ".apng": ("moving picture, with every colour", "움직이는 그림, 모든 색"),
    ".convtrace": (
        "the whole run; opens again with `ct.load`",
        "실행 전체. `ct.load`로 다시 엽니다",
    ),
    ".csv": ("terms as a table for any spreadsheet", "어느 스프레드시트에서나 읽는 항의 표"),
    ".gif": ("moving picture for anywhere", "어디에서나 보이는 움직이는 그림"),
    ".html": ("page to read, without a network", "네트워크 없이 읽는 페이지"),
    ".json": (
        "document for programs, with a published schema",
        "프로그램이 읽는 문서. 스키마 공개",
    ),
    ".md": ("equation in Markdown", "마크다운 수식"),
    ".mp4": ("video", "동영상"),
    ".npy": ("array for NumPy", "NumPy 배열"),
    ".pdf": ("figure for papers, in vectors", "논문에 넣는 벡터 그림"),
    ".png": ("figure in pixels", "픽셀 그림"),
    ".py": ("code that computes the same again", "같은 계산을 다시 하는 코드"),
    ".svg": ("figure in vectors", "벡터 그림"),
    ".tex": ("figure or equation for LaTeX", "LaTeX 그림 또는 수식"),
    ".txt": ("plain text, as on a terminal", "터미널에 보이는 그대로의 글"),
    ".webm": ("video for web pages", "웹 페이지용 동영상"),
    ".webp": ("moving picture, small", "작은 움직이는 그림"),
    ".xlsx": ("spreadsheet with live formulas", "수식이 살아 있는 스프레드시트"),
}
"""What each suffix is, in English and Korean."""


def table(lang: str) -> str:
    """Return the table in a language.

    Raises:
        KeyError: A suffix has no words in `WORDS`.
    """
    suffixes = sorted({suffix for rows in RENDERERS.values() for suffix in rows})
    lines = [HEADS[lang], ("---",) * 3]
    for suffix in suffixes:
        things = [THINGS[lang][kind] for kind, rows in RENDERERS.items() if suffix in rows]
        lines.append((f"`{suffix}`", ", ".join(things), WORDS[suffix][lang == "ko"]))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def page(lang: str) -> str:
    """Return docs/<lang>/saving.md with the table as it should be."""
    text = (DOCS / lang / "saving.md").read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table(lang)}\n\n{END}{after}"


if __name__ == "__main__":
    for language in HEADS:
        file = DOCS / language / "saving.md"
        file.write_text(page(language), encoding="utf-8")
        print(file.relative_to(DOCS.parent))
