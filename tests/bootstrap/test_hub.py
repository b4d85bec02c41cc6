"""The first node pulls from a hub on the loopback and fills the bucket; the second takes it from there."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from moto.server import ThreadedMotoServer

from bootstrap.manifest import hub_digest
from bootstrap.rendering import TEMPLATES

TOOLS = TEMPLATES / "opt/drydock/bin"
COMMIT = "c" * 40
FILES = {"config.json": b'{"hidden_size": 8}', "model.safetensors": os.urandom(300_000)}
TOKEN = "hf_secret"


class Hub(ThreadingHTTPServer):
    """As much of the hub's API as a download asks for; ``gate`` is the status for who has no token."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), HubHandler)
        self.gate = 200
        self.downloads: list[str] = []


class HubHandler(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, body: bool) -> None:
        if self.server.gate != 200 and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            self.reply(self.server.gate, b"no entry", {}, body)
        elif "/tree/" in self.path:
            tree = [
                {"type": "file", "path": name, "size": len(data), "oid": "o"} for name, data in FILES.items()
            ]
            self.reply(200, json.dumps(tree).encode(), {"Content-Type": "application/json"}, body)
        elif self.path.startswith("/api/models/org/model"):
            siblings = [{"rfilename": name, "size": len(data)} for name, data in FILES.items()]
            info = {"id": "org/model", "sha": COMMIT, "siblings": siblings}
            self.reply(200, json.dumps(info).encode(), {"Content-Type": "application/json"}, body)
        elif "/resolve/" not in self.path:
            self.reply(404, b"not here", {}, body)
        else:
            name = self.path.rsplit("/", maxsplit=1)[-1]
            if body:
                self.server.downloads.append(name)
            etag = f'"{hashlib.sha256(FILES[name]).hexdigest()}"'
            self.reply(200, FILES[name], {"ETag": etag, "X-Repo-Commit": COMMIT}, body)

    def reply(self, status: int, data: bytes, headers: dict[str, str], body: bool) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:
        """Silence."""


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


@pytest.fixture
def environment(hub: Hub, tmp_path: Path) -> Iterator[dict[str, str]]:
    # moto keeps its buckets for the whole process: each test has one of its own.
    server, bucket = ThreadedMotoServer("127.0.0.1", 0, verbose=False), f"weights-{uuid4()}"
    server.start()
    host, port = server.get_host_and_port()
    endpoint = f"http://{host}:{port}"
    boto3.client(
        "s3", "us-east-1", endpoint_url=endpoint, aws_access_key_id="a", aws_secret_access_key="s"
    ).create_bucket(Bucket=bucket)
    yield {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "a",
        "AWS_SECRET_ACCESS_KEY": "s",
        "BUCKET": bucket,
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}",
    }
    server.stop()


def run(
    tool: str, environment: dict[str, str], destination: Path, *more: str, token: str = ""
) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(TOOLS / tool), "--digest", hub_digest("org/model", "")]
    argv += ["--bucket", environment["BUCKET"], "--prefix", "m", "--region", "us-east-1"]
    argv += ["--destination", str(destination), *more]
    return subprocess.run(argv, env=environment, input=token, capture_output=True, text=True, check=False)


def fill(
    environment: dict[str, str], destination: Path, *more: str, token: str = ""
) -> subprocess.CompletedProcess[str]:
    return run("fill-bucket", environment, destination, "--hub-id", "org/model", *more, token=token)


def test_one_pull_serves_all_nodes(hub: Hub, environment: dict[str, str], tmp_path: Path) -> None:
    filled = fill(environment, tmp_path / "node-0" / "model")
    assert filled.returncode == 0, filled.stderr
    assert sorted(hub.downloads) == sorted(FILES)
    for node in ("node-0", "node-1"):
        fetched = run("fetch-weights", environment, tmp_path / node / "model")
        assert fetched.returncode == 0, fetched.stderr
        there = {
            path.name: path.read_bytes()
            for path in (tmp_path / node / "model").iterdir()
            if not path.name.startswith(".")
        }
        assert there == FILES
        # Node 0 has the files already from its own pull.
        assert ("MiB/s" in fetched.stdout) is (node == "node-1")
    assert fill(environment, tmp_path / "node-0" / "model").returncode == 0
    assert len(hub.downloads) == len(FILES)


@pytest.mark.parametrize("status", [401, 429])
def test_a_hub_that_refuses_is_told_with_its_status(
    hub: Hub, environment: dict[str, str], tmp_path: Path, status: int
) -> None:
    hub.gate = status
    refused = fill(environment, tmp_path / "model")
    assert refused.returncode == 1
    assert str(status) in refused.stderr
    assert "HF_TOKEN" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_token_opens_a_gated_model_and_is_told_to_nobody(
    hub: Hub, environment: dict[str, str], tmp_path: Path
) -> None:
    hub.gate = 401
    done = fill(environment, tmp_path / "model", "--token-stdin", token=f"{TOKEN}\n")
    assert done.returncode == 0, done.stderr
    assert TOKEN not in done.stdout + done.stderr
