"""`convtrace serve` prints where to look, serves, and stops cleanly."""

import re
import signal
import subprocess
import sys
import urllib.request

import pytest
from click.testing import CliRunner

from convtrace.cli import main


@pytest.mark.parametrize(("lang", "stopped"), [("en", "has stopped"), ("ko", "멈추었습니다")])
def test_ctrl_c_stops_it_without_a_traceback(lang: str, stopped: str):
    command = [sys.executable, "-m", "convtrace", "serve", "digits", "--lang", lang]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        address = None
        for line in process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line):
                address = found[0]
                break
        assert address is not None
        with urllib.request.urlopen(address, timeout=20) as reply:
            assert b'id="convtrace-document"' in reply.read()
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        errors = process.stderr.read()
        assert process.wait(timeout=20) == 0
    assert stopped in rest
    assert "Traceback" not in errors


def test_a_start_that_does_not_exist_is_bad_input():
    result = CliRunner().invoke(main, ["serve", "digits", "--start", "conv2[0,99,0,0]"])
    assert result.exit_code == 2
    assert "position 99 on axis 1" in result.output
