"""`convtrace serve` prints where to look, serves, and stops cleanly."""

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

import convtrace as ct
from convtrace.cli import main


@contextmanager
def serving(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Start a server, and wait for the address that it prints."""
    command = [sys.executable, "-m", "convtrace", "serve", *arguments]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, encoding="utf-8"
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        for line in process.stdout:
            if found := re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", line):
                break
        else:
            pytest.fail(process.stderr.read())
        try:
            yield process, found[0]
        finally:
            process.kill()


def ends_well(process: subprocess.Popen[str]) -> str:
    """Read the rest of what a server says; it ends by itself, and nothing went wrong."""
    said, errors = process.communicate(timeout=20)
    assert errors == ""
    assert process.returncode == 0
    return said


@pytest.mark.parametrize(("lang", "stopped"), [("en", "has stopped"), ("ko", "멈추었습니다")])
def test_ctrl_c_stops_it_without_a_traceback(lang: str, stopped: str):
    with serving("digits", "--lang", lang) as (process, address):
        with urllib.request.urlopen(address, timeout=20) as reply:
            assert b'id="convtrace-document"' in reply.read()
        process.send_signal(signal.SIGINT)
        assert stopped in ends_well(process)


def test_ctrl_c_twice_and_in_the_middle_of_a_question_stops_it_too():
    with serving("digits") as (process, address):
        port = int(re.findall(r":(\d+)/", address)[0])
        path = address.partition(str(port))[2].replace("/?", "/ask?")
        head = f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nContent-Length: 100\r\n"
        head += "Content-Type: application/json\r\n\r\n"
        with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
            connection.sendall(head.encode())
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            assert "has stopped" in ends_well(process)


def test_a_model_that_is_deleted_meanwhile_is_still_served(tmp_path: Path):
    file = tmp_path / "run.convtrace"
    ct.trace(torch.nn.Conv2d(1, 1, 2), torch.randn(1, 1, 400, 400)).save(file)
    with serving(str(file)) as (process, address):
        file.unlink()
        asked = {"ask": "box", "name": "conv2d", "start": [0, 0, 300, 0], "shape": [1, 1, 2, 2]}
        question = urllib.request.Request(
            address.replace("/?", "/ask?"),
            json.dumps(asked).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(question, timeout=20) as reply:
            assert json.load(reply)["start"] == [0, 0, 300, 0]
        process.send_signal(signal.SIGINT)
        ends_well(process)


def test_a_taken_port_is_said_before_the_model_runs():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        result = CliRunner().invoke(main, ["serve", "digits", "--port", port])
    assert result.exit_code == 2
    assert f"--port {port} cannot be used" in result.output
    assert "leave --port out" in result.output
    assert "weights" not in result.output


@pytest.mark.parametrize("model", ["README.md", "nothing.py:Net", "."])
def test_what_is_no_model_is_bad_input(model: str):
    result = CliRunner().invoke(main, ["serve", model])
    assert result.exit_code == 2
    assert "Traceback" not in result.output


def test_a_start_that_does_not_exist_is_bad_input():
    result = CliRunner().invoke(main, ["serve", "digits", "--start", "conv2[0,99,0,0]"])
    assert result.exit_code == 2
    assert "position 99 on axis 1" in result.output
