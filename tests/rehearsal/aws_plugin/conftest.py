"""The local cloud's AWS API on loopback, in a process of its own, and the engine and the plugin before it."""

import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import boto3
import pytest

from rehearsal.aws_plugin.aws import Clients, Settings
from rehearsal.aws_plugin.engine import Engine
from rehearsal.paths import REPO

_SERVE = """
import sys
from moto.server import ThreadedMotoServer
from moto.ec2.models import ec2_backends
from rehearsal.cloud import ec2, places, seeds
ec2.install(None)
ec2_backends[places.ACCOUNT][places.REGION]
seeds.plant(places.REGION)
server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
server.start()
print("port", server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""


@dataclass(frozen=True)
class Cloud:
    """Where the API is, and how a client reaches it."""

    url: str

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_ACCESS_KEY_ID": "rehearsal",
            "AWS_SECRET_ACCESS_KEY": "rehearsal",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
        }

    def client(self, service: str) -> Any:
        return boto3.client(  # type: ignore[call-overload]
            service,
            region_name="us-east-1",
            endpoint_url=self.url,
            aws_access_key_id="rehearsal",
            aws_secret_access_key="rehearsal",
        )


@pytest.fixture(scope="session")
def cloud() -> Iterator[Cloud]:
    """The API, shared by the tests: each makes what it needs."""
    with serving() as cloud:
        yield cloud


@contextmanager
def serving() -> Iterator[Cloud]:
    """An API of its own, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(REPO)}
    with subprocess.Popen(
        [sys.executable, "-c", _SERVE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        port = next(line.split()[1] for line in process.stdout if line.startswith("port "))
        yield Cloud(f"http://127.0.0.1:{port}")
        process.stdin.close()


@pytest.fixture
def engine(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> Engine:
    return new_engine(cloud, monkeypatch)


def new_engine(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch, default_tags: Mapping[str, str] | None = None
) -> Engine:
    """A provider as a fresh process has it: it remembers nothing of another."""
    for name, value in cloud.environment.items():
        monkeypatch.setenv(name, value)
    engine = Engine(Settings(region="us-east-1", default_tags=default_tags or {}))
    engine.clients = _clients(cloud.url)
    return engine


@cache
def _clients(_url: str) -> Clients:
    """Clients remember nothing of what they were used for, and take half a second to make."""
    return Clients(Settings(region="us-east-1"))
