"""A local server for traces that are too large for a file: `convtrace serve`.

It listens on the loopback interface only. Each request must carry the token of this run, name this
server as its host, and, where a browser says where it comes from, come from this server's own page.
So neither another user of the machine without the token nor a page from elsewhere can ask.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import socket
import traceback
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

from convtrace.errors import UsageError
from convtrace.live import FIRST_BYTES, Live
from convtrace.render.page.files import page_html, trace_page
from convtrace.render.table import missing

try:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.requests import ClientDisconnect, Request
    from starlette.responses import PlainTextResponse, Response
    from starlette.routing import Route
except ImportError as error:
    raise missing("convtrace serve", error) from error

if TYPE_CHECKING:
    from convtrace.graph import Trace

LOOPBACK = "127.0.0.1"
MOST_BYTES = 1 << 16
"""Bytes that a question may have at most."""
_PATIENCE = 2
"""Seconds that a server that stops gives to the questions that it still has."""

_HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Server:
    """Serves the page of one trace until it is told to stop.

    Args:
        trace: The run.
        port: Port to listen on; 0 takes a free one.
        listener: What `listen` returned; None: listen now.
        page: Options of the page: `lang`, `theme`, `start`, `title`.

    Attributes:
        url: Address to open, with the token.
        token: What each request must carry.

    Raises:
        UsageError: The port is taken.
    """

    def __init__(
        self,
        trace: Trace,
        *,
        port: int = 0,
        listener: socket.socket | None = None,
        **page: Any,
    ) -> None:
        self._socket = listener or listen(port)
        self.port: int = self._socket.getsockname()[1]
        self.token = secrets.token_urlsafe(24)
        self.url = f"http://{LOOPBACK}:{self.port}/?token={self.token}"
        try:
            document = trace_page(trace, budget=FIRST_BYTES, live=True, **page)
        except BaseException:
            self.close()
            raise
        first = trace.why(document.start)
        body = page_html(document, first=first, ask=f"/ask?token={self.token}")
        app = make_app(Live(trace), body, token=self.token, port=self.port)
        config = uvicorn.Config(
            app,
            log_level="critical",  # what goes wrong with one request is told by `guarded`
            lifespan="off",
            ws="none",
            timeout_graceful_shutdown=_PATIENCE,
        )
        self._server = uvicorn.Server(config)

    def run(self) -> None:
        """Serve until `stop`."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self.close()

    @contextlib.contextmanager
    def stopped_by_interrupt(self) -> Generator[None]:
        """Let Ctrl-C stop the server within, also before it runs and while it stops."""
        before = signal.signal(signal.SIGINT, lambda *_: self.stop())
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)

    def close(self) -> None:
        """Give the port back."""
        self._socket.close()

    def stop(self) -> None:
        """Let `run` return, from another thread or before it begins."""
        self._server.should_exit = True


def make_app(live: Live, page: bytes, *, token: str, port: int) -> Starlette:
    """Make the application.

    Args:
        live: Answers questions.
        page: The page, as HTML.
        token: What each request must carry as `?token=`.
        port: The port that requests must name.
    """
    hosts = {f"{name}:{port}" for name in (LOOPBACK, "localhost")}
    origins = {f"http://{host}" for host in hosts}

    def refusal(request: Request) -> str | None:
        if request.headers.get("host", "").lower() not in hosts:
            return "This server answers only under its own name; see the address it printed."
        origin = request.headers.get("origin")
        if origin is not None and origin not in origins:
            return "This server answers only its own page."
        given = request.query_params.get("token", "").encode()  # of text, only ASCII is compared
        if not secrets.compare_digest(given, token.encode()):
            return "The token is missing or wrong. Open the address that `convtrace serve` printed."
        return None

    def guarded(endpoint: Callable[[Request], Any]) -> Callable[[Request], Any]:
        async def guard(request: Request) -> Response:
            reason = refusal(request)
            if reason is not None:
                return PlainTextResponse(reason + "\n", 403, _HEADERS)
            try:
                return await endpoint(request)
            except ClientDisconnect:
                return Response(status_code=400)  # nobody is left to read it
            except asyncio.CancelledError:
                return PlainTextResponse("The server stops.\n", 503, _HEADERS)
            except Exception:  # noqa: BLE001  (a fault of convtrace costs one answer, no more)
                traceback.print_exc()
                return PlainTextResponse("The server failed to answer.\n", 500, _HEADERS)

        return guard

    async def show(request: Request) -> Response:
        return Response(page, media_type="text/html; charset=utf-8", headers=_HEADERS)

    async def ask(request: Request) -> Response:
        if request.headers.get("content-type", "").split(";")[0] != "application/json":
            return PlainTextResponse("Ask in application/json.\n", 415, _HEADERS)
        question = b""
        async for part in request.stream():
            question += part
            if len(question) > MOST_BYTES:
                return PlainTextResponse("The question is too long.\n", 413, _HEADERS)
        answer = await run_in_threadpool(live.answer, question)
        return Response(answer, media_type="application/json", headers=_HEADERS)

    return Starlette(
        routes=[
            Route("/", guarded(show), methods=["GET"]),
            Route("/ask", guarded(ask), methods=["POST"]),
        ]
    )


def listen(port: int) -> socket.socket:
    """Bind the loopback interface, so that a taken port is known before anything slow.

    Args:
        port: Port to listen on; 0 takes a free one.

    Raises:
        UsageError: The port is taken, or only an administrator may use it.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    if os.name == "posix":  # elsewhere it would share a port that is taken
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((LOOPBACK, port))
        listener.listen()  # who opens the address before the server runs is kept waiting
    except OSError as error:
        listener.close()
        raise UsageError(
            f"--port {port} cannot be used: {error.strerror or error}\n"
            "  Choose another one, or leave --port out to take a free one."
        ) from error
    return listener
