"""Root's rights on a host, through sudo, which is given a password only when it asks for one."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import paramiko

WITHOUT_PASSWORD: Final = ("sudo", "-n", "--")
ANSWER_S: Final = 30.0  # PAM may ask a directory service, and pauses after a wrong password
LAST_LINES: Final = 20
# says on both outputs that sudo is through: what comes after is the command's, in and out
STARTED: Final = 'echo "$1" >&2; echo "$1"; shift; exec "$@"'


class PasswordExchange:
    """One command that becomes root's with a password; nobody can guess its two marks."""

    def __init__(self, password: str) -> None:
        self._password = password
        self._prompt = f"password-{os.urandom(16).hex()}:"
        self._started = f"started-{os.urandom(16).hex()}"

    def command(self, words: Sequence[str]) -> list[str]:
        return ["sudo", "-S", "-p", self._prompt, "--", "sh", "-c", STARTED, "sh", self._started, *words]

    def lead(self, channel: paramiko.Channel) -> str | None:
        """Answer sudo's first prompt, if there is one; nothing else may be sent to the channel before.

        None: the command has started, and all that the channel gives from here on is its own. Else why not.
        """
        poll = select.poll()
        poll.register(channel.fileno(), select.POLLIN)
        prompt, start = self._prompt.encode(), f"{self._started}\n".encode()
        stdout, stderr, answered = b"", b"", False
        until = time.monotonic() + ANSWER_S
        while True:
            ended = channel.eof_received or channel.closed  # first: more may come while we look
            # a byte at a time: the bytes behind the mark belong to the command's reader
            while not stdout.endswith(start) and channel.recv_ready():
                stdout += channel.recv(1)
            while not stderr.endswith(start) and channel.recv_stderr_ready():
                stderr += channel.recv_stderr(1)
                if stderr.endswith(prompt):
                    if answered:
                        return f"sudo did not take the password{self._last_lines(stderr)}"
                    answered = True
                    with contextlib.suppress(OSError):
                        channel.sendall(f"{self._password}\n".encode())
            if stdout.endswith(start) and stderr.endswith(start):
                return None
            if ended:
                return f"sudo did not start the command{self._last_lines(stderr)}"
            left_s = until - time.monotonic()
            if left_s <= 0:
                asked = (
                    "took the password, and did not start"
                    if answered
                    else "neither asked for a password nor started"
                )
                return f"sudo {asked} the command within {ANSWER_S:g} s{self._last_lines(stderr)}"
            poll.poll(left_s * 1000)

    def _last_lines(self, stderr: bytes) -> str:
        text = stderr.decode("utf-8", "replace").replace(self._prompt, "").strip()
        lines = [line for line in text.splitlines() if line.strip()]
        return "".join(f"\n      {line}" for line in lines[-LAST_LINES:])
