"""paramiko's transport, with fewer round trips and without its pauses."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Any, Final

from ansible_like.lean import paramiko

KEY_CLASSES: Final = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)
POLL_S: Final = 5.0  # how often an idle connection looks whether a keepalive is due


class _AuthHandler(paramiko.auth_handler.AuthHandler):
    """Asks for the service and shows the key in one go, and ends the connection when that is refused."""

    def _request_auth(self) -> None:
        super()._request_auth()  # type: ignore[misc] # the stubs leave out what isn't public
        accepted = paramiko.Message()
        accepted.add_string("ssh-userauth")
        accepted.rewind()
        super()._parse_service_accept(accepted)  # type: ignore[misc]

    def _parse_service_accept(self, m: paramiko.Message) -> None:
        """The key has gone over already."""

    def _parse_userauth_failure(self, m: paramiko.Message) -> None:
        # who waits is woken by the connection's end, when the transport has kept the reason; not before
        answered, self.auth_event = self.auth_event, None
        super()._parse_userauth_failure(m)  # type: ignore[misc]
        self.auth_event = answered
        raise self.transport.get_exception() or paramiko.AuthenticationException("Authentication failed.")


class Channel(paramiko.Channel):
    """A channel that says nothing more after its end: OpenSSH ends the whole connection of who does."""

    def _send(self, s: bytes, m: paramiko.Message) -> int:
        # sent when paramiko has let go of its lock, and another thread may end the channel first
        m.channel = self  # type: ignore[attr-defined]
        return super()._send(s, m)  # type: ignore[misc,no-any-return]

    def _send_eof(self) -> paramiko.Message | None:
        m: paramiko.Message | None = super()._send_eof()  # type: ignore[misc]
        if m:
            m.channel = self  # type: ignore[attr-defined]
        return m


class Transport(paramiko.Transport):
    """paramiko's, without its pauses: its thread sleeps until there is something to read."""

    _active_check_timeout = POLL_S

    def open_channel(self, *words: Any, **options: Any) -> Channel:
        channel = super().open_channel(*words, **options)
        channel.__class__ = Channel  # paramiko leaves no choice of it
        return channel  # type: ignore[return-value]

    def _send_message(self, data: paramiko.Message) -> None:
        # one at a time gets here, and a channel counts as closed before its end is sent
        channel: Channel | None = getattr(data, "channel", None)
        if not (channel and channel.closed):
            super()._send_message(data)  # type: ignore[misc]

    def ask_to_be_let_in(self, user: str, key: paramiko.PKey) -> threading.Event:
        """Send the key, and don't wait for the answer: the event tells when it has come."""
        answered = threading.Event()
        self.auth_handler = _AuthHandler(self)
        self.auth_handler.auth_publickey(user, key, answered)
        return answered

    def stop_thread(self) -> None:
        # closing alone would leave the thread in its read for up to POLL_S
        if isinstance(self.sock, socket.socket):
            with contextlib.suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
        super().stop_thread()
