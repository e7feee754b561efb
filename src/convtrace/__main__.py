"""The program `convtrace`, and `python -m convtrace`: what happens before the command line is read.

Importing the command line takes most of the time that a short answer takes, so this file imports
next to nothing, and Ctrl-C is quiet from its first line on.
"""

from __future__ import annotations

import gc
import os
import signal

INTERRUPTED = 130


def main() -> None:
    """Import the command line and run it.

    A Ctrl-C while Python imports ends the program at once: nothing has been written yet, and a
    `KeyboardInterrupt` inside of an import can come out as an `ImportError`, or not at all.
    """
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heard:  # else somebody ignores it: nohup, a shell's `&`
        signal.signal(signal.SIGINT, lambda *_: os._exit(INTERRUPTED))
    gc.set_threshold(100_000, 50, 50)  # a tenth of start-up went into looking for garbage
    from convtrace.cli import main as run

    if heard:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        run()
    except KeyboardInterrupt:  # where the command line was not yet, or no longer, ready for it
        os._exit(INTERRUPTED)
    finally:
        gc.freeze()  # nothing is left to be found: looking for garbage took a tenth at the end, too


if __name__ == "__main__":
    main()
