"""The agent starts in the flight of the login, and where a server does not take that, after it."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from ansible_like import express
from ansible_like.connection import Connection, Start
from ansible_like.express import EARLY_BYTES
from ansible_like.operations import Command
from ansible_like.result import Unreachable
from ansible_like.runner import apply
from tests.ansible_like.conftest import Sshd
from tests.ansible_like.test_connection import NEWKEYS, stalling


def test_the_host_works_before_it_was_heard_to_let_us_in(sshd: Sshd, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "done")
    operations = (Command(f"echo done > {tmp_path}/done", name="tells"),)
    # it has the agent already
    assert apply({sshd.target(): ()}, state_directory=str(tmp_path / "state"))["node-0"].ok
    with stalling(sshd.port, NEWKEYS) as port:
        results = []
        run = threading.Thread(
            target=lambda: results.append(
                apply(
                    {sshd.target(port=port): operations},
                    connect_deadline_s=1,
                    state_directory=str(tmp_path / "state"),
                )["node-0"]
            )
        )
        run.start()
        assert (tmp_path / "done").read_text() == "done\n"
        run.join()
    assert isinstance(results[0].error, Unreachable)


@pytest.mark.parametrize("size_bytes", [0, 1000, EARLY_BYTES, EARLY_BYTES + 1, 5_000_000])
def test_all_of_the_input_arrives_whatever_its_size(sshd: Sshd, size_bytes: int) -> None:
    start = Start(("wc", "-c"), b"x" * size_bytes, sudo=False)
    with Connection.open(sshd.target(), 20, start=start) as opened, opened.started(start) as channel:
        channel.shutdown_write()
        assert channel.makefile().read() == b"%d\n" % size_bytes
        assert channel.recv_exit_status() == 0
        # another one beside it
        assert opened.run(["echo", "more"]).stdout == "more\n"


def test_through_a_jump_host(sshd: Sshd) -> None:
    start = Start(("cat",), b"deep", sudo=False)
    through = sshd.target("inner", jump=sshd.target("jump"))
    with Connection.open(through, 20, start=start) as opened, opened.started(start) as channel:
        channel.shutdown_write()
        assert channel.makefile().read() == b"deep"


@pytest.mark.parametrize("first_channel", [0, 7])
def test_a_server_that_numbers_its_channels_otherwise_is_asked_again_without(
    sshd: Sshd, first_channel: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[bool] = []
    original = express.Express

    def counted(*arguments: object) -> object:
        sent.append(True)
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(express, "Express", counted)
    start = Start(("say",), b"hello", sudo=False)
    with other_server(sshd, first_channel) as port:
        target = sshd.target(port=port)
        with Connection.open(target, 20, start=start) as opened, opened.started(start) as channel:
            assert channel.makefile().read(5) == b"hello"
    assert sent == [True]


class Echo(paramiko.ServerInterface):
    """Lets everybody in, and starts everything."""

    def get_allowed_auths(self, username: str) -> str:
        return "publickey"

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        return paramiko.common.AUTH_SUCCESSFUL

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return paramiko.common.OPEN_SUCCEEDED

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        return True


@contextlib.contextmanager
def other_server(sshd: Sshd, first_channel: int) -> Iterator[int]:
    """A server that calls itself OpenSSH, with that one's host key, and is another: it says what it hears."""
    key = paramiko.Ed25519Key.from_private_key_file(str(sshd.folder / "host_key"))
    transports: list[paramiko.Transport] = []

    def accept(listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                threading.Thread(target=serve, args=(client,), daemon=True).start()

    def serve(client: socket.socket) -> None:
        transport = paramiko.Transport(client)
        transports.append(transport)
        transport.local_version = "SSH-2.0-OpenSSH_or_so"
        transport._channel_counter = first_channel  # type: ignore[attr-defined]
        transport.add_server_key(key)
        # the connection may end at any moment, also while keys are exchanged
        with contextlib.suppress(OSError, EOFError, paramiko.SSHException):
            transport.start_server(server=Echo())
            if channel := transport.accept(10):
                while data := channel.recv(65536):
                    channel.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=accept, args=(listening,))
        thread.start()
        yield listening.getsockname()[1]
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
    for transport in transports:
        transport.close()
