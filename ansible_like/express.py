"""A command and its first input in the flight of the login, where each would pay a round trip of its own.

SSH lets a client go on before it is answered, and OpenSSH reads what came early when it gets to it. What is
taken for granted here, and holds of OpenSSH: its first channel is number 0, and has ``WINDOW_BYTES`` of room
as soon as its command runs. Who takes it otherwise ends the connection; another one is made without this.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any, Final

from ansible_like.lean import paramiko
from ansible_like.transport import Channel

SERVERS: Final = "SSH-2.0-OpenSSH_"
OUR_WINDOW_BYTES: Final = 8 << 20
WINDOW_BYTES: Final = 2 << 20
PACKET_BYTES: Final = 32768
EARLY_BYTES: Final = 256 << 10
"""How much input goes ahead; who is not let in was sent it in vain."""


class _EarlyChannel(Channel):
    """A channel that is used before the host has told its number."""

    sent_bytes = 0

    def _set_remote_channel(self, chanid: int, window_size: int, max_packet_size: int) -> None:
        if chanid != self.remote_chanid:
            raise paramiko.SSHException(f"the first channel has the number {chanid}, and not 0")
        super()._set_remote_channel(chanid, window_size, max_packet_size)  # type: ignore[misc]
        self.out_window_size -= self.sent_bytes


class Express:
    """A command on its way; ``channel`` waits until it runs."""

    _channel: Any  # the stubs leave out what isn't public

    def __init__(self, transport: Any, command: str, stdin: bytes) -> None:
        """Send all of it. The paramiko.Transport has just asked to be let in, and has had no channel yet."""
        self._rest = stdin[EARLY_BYTES:]
        self._opened = threading.Event()
        self._channel = _EarlyChannel(transport._next_channel())
        number = self._channel.chanid
        transport._channels.put(number, self._channel)
        transport.channel_events[number] = self._opened
        transport.channels_seen[number] = True
        self._channel._set_transport(transport)
        self._channel._set_window(OUR_WINDOW_BYTES, PACKET_BYTES)
        opening = paramiko.Message()
        opening.add_byte(paramiko.common.cMSG_CHANNEL_OPEN)
        opening.add_string("session")
        opening.add_int(number)
        opening.add_int(OUR_WINDOW_BYTES)
        opening.add_int(PACKET_BYTES)
        transport._send_user_message(opening)
        self._channel.remote_chanid = 0
        self._channel._set_remote_channel(0, WINDOW_BYTES, PACKET_BYTES)
        start = paramiko.Message()
        start.add_byte(paramiko.common.cMSG_CHANNEL_REQUEST)
        start.add_int(0)
        start.add_string("exec")
        start.add_boolean(True)
        start.add_string(command)
        self._channel._event_pending()
        transport._send_user_message(start)
        early = stdin[:EARLY_BYTES]
        self._channel.sent_bytes = len(early)
        self._channel.sendall(early)

    def await_channel(self, limit_s: float) -> None:
        """Wait for the channel's number, which comes with the word that we are let in. Raises EOFError."""
        if not self._opened.wait(limit_s) or not self._channel.transport.is_active():
            raise EOFError("the connection ended when a command was started")

    def channel(self, limit_s: float) -> paramiko.Channel:
        """The channel, when the command runs and all of the input is sent. Raises paramiko's errors."""
        if not self._channel.event.wait(limit_s) or not self._channel.event_ready:
            raise paramiko.SSHException("the host did not start it")
        with contextlib.suppress(OSError):  # a command that no longer reads has its own reasons
            self._channel.sendall(self._rest)
        channel: paramiko.Channel = self._channel
        return channel
