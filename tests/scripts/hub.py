"""A Hugging Face hub on this machine, which answers as a test wants it."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Answer = tuple[int, Mapping[str, str], bytes]


@contextmanager
def hub(answers: Mapping[str, Answer]) -> Iterator[str]:
    """A hub that answers by the end of the path; "" answers the rest."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = next((answers[end] for end in answers if end and self.path.endswith(end)), None)
            status, headers, body = found or answers.get("", (404, {}, b""))
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
