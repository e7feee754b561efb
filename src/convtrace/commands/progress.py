"""A sign of life on standard error, for work of more than a second."""

from __future__ import annotations

import sys
import threading
from types import TracebackType
from typing import Any, Self


class Progress:
    """Counts operators; on a terminal, shows the count once a second has passed.

    Args:
        text: Text beside the bar, with the placeholder `{count}`.
        delay: Seconds to wait before anything is shown.
    """

    def __init__(self, text: str, delay: float = 1.0) -> None:
        self._text = text
        self._count = 0
        self._bar: Any = None
        self._task: Any = None
        self._ended = False
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        if sys.stderr is not None and sys.stderr.isatty():  # pyright: ignore[reportUnnecessaryComparison]
            self._timer = threading.Timer(delay, self._show)
            self._timer.daemon = True

    def __enter__(self) -> Self:
        if self._timer is not None:
            self._timer.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._timer is not None:
            self._timer.cancel()
        with self._lock:
            self._ended = True
            if self._bar is not None:
                self._bar.stop()

    def advance(self) -> None:
        """Count one operator more."""
        self._count += 1
        if self._bar is not None:
            self._bar.update(self._task, description=self._text.format(count=self._count))

    def _show(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bar

        with self._lock:
            if self._ended:
                return
            bar = Bar(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=20),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
                redirect_stdout=False,
                redirect_stderr=False,
            )
            # How many operators there will be is not known, so the bar pulses.
            self._task = bar.add_task(self._text.format(count=self._count), total=None)
            bar.start()
            self._bar = bar
            # What was counted while the bar was made.
            bar.update(self._task, description=self._text.format(count=self._count))
