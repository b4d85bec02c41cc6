"""The AWS API: moto's application behind one lock, its changes kept on disk before they are answered, and the
HTTP servers that carry it on loopback and on the routers' addresses."""

import io
import json
import re
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

OWN_PATH = "/_drydock/"
READING = re.compile(r"^(Describe|Get|List|Head|Lookup|Search)")
SCOPE = re.compile(r"Credential=[^/]+/\d+/([a-z0-9-]+)/")


@dataclass
class Api:
    """The WSGI application.

    `changed` is called under the lock after each request that may have changed something; `pages` are the
    cloud's own answers: name → a function giving what is sent as JSON.
    """

    lock: threading.RLock
    plant: Callable[[str], bool]
    changed: Callable[[], None]
    pages: dict[str, Callable[[], Any]]
    _moto: Any = field(default_factory=lambda: DomainDispatcherApplication(create_backend_app))

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.startswith(OWN_PATH):
            return self._own(path.removeprefix(OWN_PATH), start_response)
        # Read before the lock is taken: a slow sender must not hold up the others.
        body = _body(environ)
        with self.lock:
            planted = self.plant(region_of(environ))
            answer: Iterable[bytes] = list(self._moto(environ, start_response))
            if planted or not only_reads(environ, body):
                self.changed()
        return answer

    def _own(self, name: str, start_response: Any) -> Iterable[bytes]:
        if name not in self.pages:
            start_response("404 Not Found", [])
            return [b""]
        with self.lock:
            text = json.dumps(self.pages[name]())
        start_response("200 OK", [("Content-Type", "application/json")])
        return [text.encode()]


def region_of(environ: Environ) -> str:
    """The region that the request's signature names; empty for an unsigned one."""
    found = SCOPE.search(environ.get("HTTP_AUTHORIZATION", "")) or re.search(
        r"X-Amz-Credential=[^/&]+(?:/|%2F)\d+(?:/|%2F)([a-z0-9-]+)", environ.get("QUERY_STRING", "")
    )
    return found.group(1) if found else ""


def only_reads(environ: Environ, body: bytes) -> bool:
    """Whether the request changes nothing, by its operation's name, or its method where it has none."""
    if environ["REQUEST_METHOD"] in ("GET", "HEAD", "OPTIONS"):
        return True
    if target := environ.get("HTTP_X_AMZ_TARGET", ""):
        return bool(READING.match(target.rpartition(".")[2]))
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        action = parse_qs(body.decode(errors="replace")).get("Action", [""])[0]
        return bool(READING.match(action))
    return False


def _body(environ: Environ) -> bytes:
    length = int(environ.get("CONTENT_LENGTH") or 0)
    if not length and not environ.get("wsgi.input_terminated"):
        return b""
    body: bytes = environ["wsgi.input"].read(length) if length else environ["wsgi.input"].read()
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    return body


class Servers:
    """HTTP servers of one application and port, an address each; addresses come and go with the subnets."""

    def __init__(self, application: Application, port: int) -> None:
        self._application, self._port = application, port
        self._running: dict[str, BaseWSGIServer] = {}

    def converge(self, addresses: Iterable[str]) -> None:
        """Serves on exactly these addresses. Raises OSError where one cannot be bound."""
        wanted = set(addresses)
        for address in self._running.keys() - wanted:
            self._running.pop(address).shutdown()
        for address in wanted - self._running.keys():
            server = make_server(
                address, self._port, self._application, threaded=True, request_handler=_Handler
            )
            threading.Thread(
                target=server.serve_forever, name=f"http {address}:{self._port}", daemon=True
            ).start()
            self._running[address] = server


class _Handler(MotoRequestHandler):
    """Keeps connections open, and logs what failed only."""

    protocol_version = "HTTP/1.1"

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        if str(code).startswith("5"):
            WSGIRequestHandler.log_request(self, code, size)
