"""The progress bar shows on a terminal, after a while, and nowhere else."""

import io
import time

import pytest

from convtrace.commands.progress import Progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def use_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    # No fixture: pytest puts its own sys.stderr in place after fixtures are set up.
    stream = Terminal()
    monkeypatch.setattr("sys.stderr", stream)
    monkeypatch.setenv("TERM", "xterm")
    return stream


def test_long_work_counts_operators_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    with Progress("ran {count} operators", delay=0) as progress:
        for _ in range(7):
            progress.advance()
        until = time.monotonic() + 10
        while "ran 7 operators" not in terminal.getvalue() and time.monotonic() < until:
            time.sleep(0.01)
    assert "ran 7 operators" in terminal.getvalue()


def test_short_work_shows_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    with Progress("ran {count} operators") as progress:
        progress.advance()
    assert terminal.getvalue() == ""


def test_nothing_is_shown_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("ran {count} operators", delay=0) as progress:
        progress.advance()
        time.sleep(0.2)
    assert capsys.readouterr().err == ""


def test_the_bar_ends_with_the_work_even_if_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)

    def work() -> None:
        with Progress("{count}", delay=0):
            time.sleep(0.5)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    length = len(terminal.getvalue())
    time.sleep(0.3)
    assert len(terminal.getvalue()) == length > 0
