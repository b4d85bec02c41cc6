"""A small web server in threads, for one content, with faults to switch on."""

from __future__ import annotations

import contextlib
import http.server
import re
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path


@dataclass
class Faults:
    """What goes wrong; the answer's number counts from 0, also over the probes for one byte."""

    content: bytes
    version: str = '"v1"'
    has_ranges: bool = True
    tells_length: bool = True
    claims_more_bytes: int = 0
    drop_after_bytes: Callable[[int], int | None] = lambda _: None
    """How many bytes of an answer are sent before the connection is cut; None: all."""
    status: Callable[[int], int] = lambda _: 200
    """Another status than 200 is answered as it is, without content."""
    hold: Callable[[int], threading.Event | None] = lambda _: None
    """What has to happen before an answer's content is sent."""
    redirect_to: str = ""
    before_answer: Callable[[int], object] = lambda _: None


@dataclass
class Seen:
    """What was asked for and served."""

    requests: list[tuple[str, str | None, str | None]] = field(default_factory=list)
    """Path, Range, Authorization of each."""
    total_bytes: int = 0
    at_once: int = 0
    most_at_once: int = 0


class Web:
    """The running server; use it as a context manager."""

    def __init__(self, content: bytes, certificate: Path | None = None) -> None:
        self.faults, self.seen = Faults(content), Seen()
        self._lock = threading.Lock()
        web = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                with contextlib.suppress(OSError):
                    web.answer(self)
                self.close_connection = True

            def log_message(self, *_: object) -> None:
                """Nothing."""

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._scheme = "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
            self._scheme = "https"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    @property
    def url(self) -> str:
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}/file"

    def answer(self, request: http.server.BaseHTTPRequestHandler) -> None:
        asked = request.headers.get("Range")
        with self._lock:
            number = len(self.seen.requests)
            self.seen.requests.append((request.path, asked, request.headers.get("Authorization")))
            self.seen.at_once += 1
            self.seen.most_at_once = max(self.seen.most_at_once, self.seen.at_once)
        try:
            self.faults.before_answer(number)
            self._answer(request, number, asked if self.faults.has_ranges else None)
        finally:
            with self._lock:
                self.seen.at_once -= 1

    def _answer(self, request: http.server.BaseHTTPRequestHandler, number: int, asked: str | None) -> None:
        faults = self.faults
        content = faults.content
        if faults.redirect_to or faults.status(number) != 200:
            request.send_response(302 if faults.redirect_to else faults.status(number))
            if faults.redirect_to:
                request.send_header("Location", faults.redirect_to)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        begin, end = 0, len(content)
        if asked:
            found = re.fullmatch(r"bytes=(\d+)-(\d+)", asked)
            assert found
            begin, end = int(found[1]), min(int(found[2]) + 1, end)
        if asked and begin >= len(content):
            request.send_response(416)
            request.send_header("Content-Length", "0")
            request.end_headers()
            return
        request.send_response(206 if asked else 200)
        request.send_header("ETag", faults.version)
        if asked:
            request.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(content)}")
        if faults.tells_length:
            request.send_header("Content-Length", str(end - begin + faults.claims_more_bytes))
        request.end_headers()
        drop = faults.drop_after_bytes(number)
        stop = end if drop is None else min(end, begin + drop)
        if (event := faults.hold(number)) and end - begin > 1:
            event.wait()
        request.wfile.write(content[begin:stop])
        with self._lock:
            self.seen.total_bytes += stop - begin

    def __enter__(self) -> Web:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
