"""What our transport does otherwise than paramiko's."""

from __future__ import annotations

import socket
import threading
from typing import Any

import paramiko
import pytest

from ansible_like.connection import Connection
from tests.ansible_like.conftest import Sshd

TELLING = {"data": lambda channel: channel.send(b"late"), "eof": lambda channel: channel.shutdown_write()}


@pytest.mark.parametrize("what", TELLING)
def test_what_is_sent_while_another_thread_ends_the_channel_does_not_end_the_connection(
    sshd: Sshd, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    sending, closed = threading.Event(), threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server, Connection.open(sshd.target(), 20) as connection:
        channel = connection.through(server.getsockname(), 20)
        accepted, _ = server.accept()
        transport: Any = channel.transport
        send = transport._send_user_message

        def slowly(message: paramiko.Message) -> None:
            if threading.current_thread() is sender:
                sending.set()
                closed.wait(20)
            send(message)

        monkeypatch.setattr(transport, "_send_user_message", slowly)
        sender = threading.Thread(target=TELLING[what], args=(channel,))
        sender.start()
        assert sending.wait(20)
        channel.close()
        with accepted:
            assert accepted.recv(1) == b"", "the other end has heard of the end of the channel"
        # an answer that comes after the channel's end is the sign that sshd has forgotten it
        while transport._channels.get(channel.chanid):
            assert connection.run(["true"]).exit_code == 0
        closed.set()
        sender.join()
        assert connection.run(["echo", "still here"]).stdout == "still here\n"
