"""The server answers its own page, and nobody else."""

import contextlib
import json
import signal
import socket
import threading
import time
from collections.abc import Iterator
from http.client import HTTPConnection
from typing import Any
from urllib.parse import quote

import pytest
import torch

import convtrace as ct
from convtrace.errors import UsageError
from convtrace.live import Live
from convtrace.server import LOOPBACK, MOST_BYTES, Server

QUESTION = json.dumps({"ask": "receipt", "address": "conv2d[0,0,0,0]"})
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def trace() -> ct.Trace:
    torch.manual_seed(0)
    return ct.trace(torch.nn.Conv2d(2, 3, 3), torch.randn(1, 2, 6, 6))


@pytest.fixture(scope="module")
def server(trace: ct.Trace) -> Iterator[Server]:
    served = Server(trace, lang="en", title="<img onerror=alert(1)>")
    thread = threading.Thread(target=served.run)
    thread.start()
    yield served
    served.stop()
    thread.join(timeout=20)
    assert not thread.is_alive()


def request(
    server: Server, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
) -> tuple[int, str, dict[str, str]]:
    """Send one request; headers that are given stand in for those of a browser."""
    with contextlib.closing(HTTPConnection(LOOPBACK, server.port, timeout=20)) as connection:
        return send(connection, server, method, path, body, headers)


def send(
    connection: HTTPConnection,
    server: Server,
    method: str,
    path: str,
    body: Any,
    headers: dict[str, str] | None,
) -> tuple[int, str, dict[str, str]]:
    connection.putrequest(method, path, skip_host=True)
    sent = {"Host": f"{LOOPBACK}:{server.port}", **(headers or {})}
    if body is not None:
        sent["Content-Length"] = str(len(body))
    for name, value in sent.items():
        connection.putheader(name, value)
    connection.endheaders(None if body is None else body.encode())
    response = connection.getresponse()
    text = response.read().decode()
    return response.status, text, {key.lower(): value for key, value in response.getheaders()}


def test_the_page_is_served_with_its_token(server: Server):
    status, text, headers = request(server, "GET", f"/?token={server.token}")
    assert status == 200
    assert f'data-ask="/ask?token={server.token}"' in text
    assert "connect-src 'self'" in text
    assert "<img onerror" not in text
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


def test_a_question_is_answered(server: Server, trace: ct.Trace):
    status, text, _ = request(server, "POST", f"/ask?token={server.token}", QUESTION, JSON)
    assert status == 200
    assert json.loads(text)["reported"] == trace.value("conv2d[0,0,0,0]")


@pytest.mark.parametrize("token", ["", "wrong", "한국어"])
@pytest.mark.parametrize("path", ["/", "/ask"])
def test_a_wrong_token_is_refused(server: Server, token: str, path: str):
    method, body = ("GET", None) if path == "/" else ("POST", QUESTION)
    status, text, _ = request(server, method, f"{path}?token={quote(token)}", body, JSON)
    assert status == 403
    assert "token" in text


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:{port}",  # its name server now points to this machine: DNS rebinding
        "127.0.0.1.evil.example:{port}",
        "localhost.evil.example:{port}",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.0.0.2:{port}",
        "0.0.0.0:{port}",
        "[::1]:{port}",  # it does not listen there
        "[::ffff:127.0.0.1]:{port}",
        "2130706433:{port}",
        "",
    ],
)
@pytest.mark.parametrize("path", ["/", "/ask"])
def test_another_host_name_is_refused(server: Server, host: str, path: str):
    method, body = ("GET", None) if path == "/" else ("POST", QUESTION)
    headers = {**JSON, "Host": host.format(port=server.port)}
    status, text, _ = request(server, method, f"{path}?token={server.token}", body, headers)
    assert status == 403
    assert "own name" in text


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "http://evil.example:{port}",
        "null",
        "",
        "https://127.0.0.1:{port}",
        "http://127.0.0.1:1",
        "http://[::1]:{port}",
    ],
)
def test_a_page_from_elsewhere_is_refused(server: Server, origin: str):
    headers = {**JSON, "Origin": origin.format(port=server.port)}
    status, text, _ = request(server, "POST", f"/ask?token={server.token}", QUESTION, headers)
    assert status == 403
    assert "own page" in text


@pytest.mark.parametrize("name", [LOOPBACK, "localhost", "LocalHost"])
def test_its_own_page_may_ask(server: Server, name: str):
    headers = {**JSON, "Host": f"{name}:{server.port}"}
    headers["Origin"] = f"http://{name.lower()}:{server.port}"
    status, _, _ = request(server, "POST", f"/ask?token={server.token}", QUESTION, headers)
    assert status == 200


def test_a_program_that_is_no_browser_may_ask_with_the_token(server: Server):
    path = f"/ask?token={server.token}"
    assert request(server, "POST", path, QUESTION, JSON)[0] == 200  # browsers send an Origin
    assert request(server, "POST", "/ask", QUESTION, JSON)[0] == 403


def test_two_host_names_are_refused(server: Server):
    names = f"Host: 127.0.0.1:{server.port}\r\nHost: evil.example\r\n"
    asked = f"GET /?token={server.token} HTTP/1.1\r\n{names}\r\n"
    with socket.create_connection((LOOPBACK, server.port), timeout=20) as connection:
        connection.sendall(asked.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 400")


def test_other_forms_of_questions_are_refused(server: Server):
    path = f"/ask?token={server.token}"
    assert request(server, "POST", path, QUESTION, {"Content-Type": "text/plain"})[0] == 415
    assert request(server, "POST", path, " " * (MOST_BYTES + 1), JSON)[0] == 413
    assert request(server, "GET", path)[0] == 405
    assert request(server, "GET", f"/other?token={server.token}")[0] == 404


def test_a_taken_port_is_named_before_anything_runs(trace: ct.Trace):
    with socket.socket() as taken:
        taken.bind((LOOPBACK, 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(UsageError, match=rf"--port {port} cannot be used"):
            Server(trace, port=port)


def test_tokens_differ_from_run_to_run(trace: ct.Trace, server: Server):
    other = Server(trace)
    other.close()
    assert other.token != server.token
    assert len(other.token) >= 32


@pytest.mark.parametrize("garbage", [b"\x16\x03\x01\x00\xff" * 99, b"GET\r\n\r\n", b"\x00", b""])
def test_it_survives_what_is_no_request(server: Server, garbage: bytes):
    with socket.create_connection((LOOPBACK, server.port), timeout=20) as connection:
        connection.sendall(garbage)
        connection.shutdown(socket.SHUT_WR)
        while connection.recv(1 << 16):
            pass
    assert request(server, "GET", f"/?token={server.token}")[0] == 200


def started(server: Server, length: int = 1000) -> socket.socket:
    """Send the beginning of a question."""
    connection = socket.create_connection((LOOPBACK, server.port), timeout=20)
    head = f"POST /ask?token={server.token} HTTP/1.1\r\nHost: {LOOPBACK}:{server.port}\r\n"
    head += f"Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
    connection.sendall(head.encode() + QUESTION.encode())
    return connection


def test_a_browser_that_leaves_in_the_middle_is_no_traceback(
    server: Server, capfd: pytest.CaptureFixture[str]
):
    started(server).close()
    for _ in range(5):
        started(server, len(QUESTION)).close()
    assert request(server, "GET", f"/?token={server.token}")[0] == 200
    time.sleep(0.2)
    assert capfd.readouterr().err == ""


def test_a_fault_is_told_and_the_next_question_is_answered(
    server: Server, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    path = f"/ask?token={server.token}"
    with monkeypatch.context() as patched:
        patched.setattr(Live, "answer", lambda *_: 1 / 0)
        assert request(server, "POST", path, QUESTION, JSON)[0] == 500
    assert "ZeroDivisionError" in capfd.readouterr().err
    assert request(server, "POST", path, QUESTION, JSON)[0] == 200


def test_it_stops_in_the_middle_of_a_question(trace: ct.Trace, capfd: pytest.CaptureFixture[str]):
    served = Server(trace)
    thread = threading.Thread(target=served.run)
    thread.start()
    with started(served):
        time.sleep(0.2)
        served.stop()
        thread.join(timeout=20)
        assert not thread.is_alive()
    assert capfd.readouterr().err == ""


def test_a_server_that_was_stopped_before_it_runs_does_not_run(trace: ct.Trace):
    served = Server(trace)
    with served.stopped_by_interrupt():
        signal.raise_signal(signal.SIGINT)
        served.run()


def test_it_stops_while_a_browser_keeps_its_connection(trace: ct.Trace):
    served = Server(trace)
    thread = threading.Thread(target=served.run)
    thread.start()
    with contextlib.closing(HTTPConnection(LOOPBACK, served.port, timeout=20)) as kept:
        assert send(kept, served, "GET", f"/?token={served.token}", None, None)[0] == 200
        served.stop()
        thread.join(timeout=20)
        assert not thread.is_alive()
