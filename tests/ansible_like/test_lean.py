"""What the engine loads at its start, and leaves as it was."""

import subprocess
import sys
from pathlib import Path

import pytest

from ansible_like.connection import Connection, Target
from ansible_like.result import BadPrivateKey
from tests.ansible_like.conftest import free_port, make_key

SCRIPT = """
import sys
{before}
from ansible_like.lean import load
load()
assert "asyncio" not in sys.modules or {early}
import invoke
assert invoke is sys.modules["invoke"] and invoke.run
"""


def test_invoke_is_not_loaded_and_can_be_later() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT.format(before="", early=False)], check=True)


def test_one_that_was_loaded_stays() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT.format(before="import invoke", early=True)], check=True)


CONNECTS = """
import sys
import ansible_like.runner
from ansible_like import connection
from ansible_like.result import Unreachable

def connect(place, timeout):
    print("connects", "paramiko" in sys.modules)
    raise OSError("not here")

connection.socket.create_connection = connect
key = open(sys.argv[1]).read()
target = connection.Target("a", "192.0.2.1", "root", key, ())
try:
    connection.Connection.open(target, 0)
except Unreachable:
    print("told", "paramiko" in sys.modules)
"""


def test_a_host_is_connected_to_before_paramiko_is_loaded(tmp_path: Path) -> None:
    make_key(tmp_path / "key")
    argv = [sys.executable, "-c", CONNECTS, str(tmp_path / "key")]
    done = subprocess.run(argv, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines() == ["connects False", "told True"]


def test_a_key_that_is_no_key_is_told_also_where_nothing_answers() -> None:
    target = Target("a", "127.0.0.1", "root", "no key", (), port=free_port())
    with pytest.raises(BadPrivateKey):
        Connection.open(target, 0)
