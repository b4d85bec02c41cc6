"""Readiness and draining against a real HTTP server that behaves as vLLM does, well and badly."""

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from bootstrap.drain import drain, requests_running
from bootstrap.readiness import Endpoint, ask, is_healthy
from bootstrap.work import Work
from cluster.problems import Failure
from tests.bootstrap.cases import CASES

SPEC = CASES["cpu"].replica


class Server(ThreadingHTTPServer):
    """Answers with what it is given, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.status, self.answer = 200, SPEC.readiness.answer
        self.running = [2.0, 1.0, 0.0]
        self.asked: list[tuple[str, Any]] = []

    @property
    def endpoint(self) -> Endpoint:
        return Endpoint("127.0.0.1", self.server_port)


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.path == "/metrics":
            now = self.server.running.pop(0) if self.server.running else 0.0
            self.reply(200, f'vllm:num_requests_running{{engine="0"}} {now}\n')
        else:
            self.reply(self.server.status, "")

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.asked.append((self.headers["Authorization"], body))
        choice = {"message": {"content": self.server.answer}}
        self.reply(self.server.status, json.dumps({"choices": [choice]}))

    def reply(self, status: int, text: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def closed_port() -> Endpoint:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return Endpoint("127.0.0.1", listening.getsockname()[1])


def test_asks_the_question_once_with_the_key_and_without_chance(server: Server) -> None:
    assert ask(server.endpoint, SPEC, "key", 5) == SPEC.readiness.answer
    ((authorization, body),) = server.asked
    assert authorization == "Bearer key"
    assert (body["temperature"], body["model"]) == (0, "drydock-tiny")
    assert body["messages"] == [{"role": "user", "content": SPEC.readiness.prompt}]


def test_a_wrong_answer_is_a_failure_that_shows_it(server: Server) -> None:
    server.answer = "The ship rests in the harbour."
    with pytest.raises(Failure, match=r"'The ship rests in the harbour\.', which does not contain"):
        ask(server.endpoint, SPEC, "key", 5)


def test_a_refusal_is_a_failure_but_not_one_of_the_key(server: Server) -> None:
    server.status = 404
    with pytest.raises(Failure, match=r"refused the readiness question \(404\)") as failed:
        ask(server.endpoint, SPEC, "very-secret", 5)
    assert "very-secret" not in str(failed.value)


def test_a_server_that_breaks_or_is_away_has_not_answered_yet(server: Server) -> None:
    server.status = 503
    assert ask(server.endpoint, SPEC, "key", 5) is None
    assert not is_healthy(server.endpoint)
    assert ask(closed_port(), SPEC, "key", 5) is None
    assert not is_healthy(closed_port())


def test_running_requests_are_those_of_all_engines() -> None:
    metrics = (
        "# TYPE vllm:num_requests_running gauge\n"
        'vllm:num_requests_running{engine="0",model_name="m"} 3.0\n'
        'vllm:num_requests_running{engine="1",model_name="m"} 2.0\n'
        'vllm:num_requests_waiting{engine="0",model_name="m"} 7.0\n'
    )
    assert requests_running(metrics) == 5
    assert requests_running("") == 0


def test_draining_waits_for_the_last_request(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bootstrap.drain.POLL_S", 0.0)
    said: list[str] = []
    drain(server.endpoint, Work(said.append, 60), deadline_s=30)
    assert said == ["draining: 2 requests running", "draining: 1 requests running"]


def test_draining_ends_at_its_deadline_and_says_so(server: Server) -> None:
    said: list[str] = []
    drain(server.endpoint, Work(said.append, 60), deadline_s=0)
    assert said == ["stopping with 2 requests still running after 0 s"]


def test_a_server_that_is_away_needs_no_draining() -> None:
    drain(closed_port(), Work(lambda _: None, 60), deadline_s=30)
