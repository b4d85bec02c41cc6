"""The controller, as the agent hears it: our stdin, which is read here and nowhere else.

The controller holds it open as long as it lives, sends ALIVE now and then, and when it is asked for a file's
content, CONTENT, eight bytes that say from which byte on, and the bytes from there to the file's end.
"""

from __future__ import annotations

import os
import select
import time

from ansible_like.agent.values import ControllerGone, ControllerSilent

STDIN, STDOUT = 0, 1
ALIVE, CONTENT = b".", b"<"
PIPE_BYTES = 1 << 20
F_SETPIPE_SZ = 1031

TOLD_AT_ONCE_BYTES = 8192
TOLD_AT_ONCE_S = 0.2

_silence_s = 60.0
_untold = bytearray()
_told_at = 0.0
_heard_at = time.monotonic()


def expect(silence_s: float) -> None:
    """From now on, count the controller as gone after so long without a byte from it."""
    global _silence_s, _heard_at
    _silence_s, _heard_at = silence_s, time.monotonic()


def left_s() -> float:
    """How long it may still be silent."""
    return max(0.0, _heard_at + _silence_s - time.monotonic())


def look() -> None:
    """Take what has come, without waiting, and let go what was told. Raises ControllerGone."""
    flush()
    _hear()


def _hear() -> None:
    if _await(STDIN, select.POLLIN, 0):
        _read(memoryview(bytearray(4096)))
    elif not left_s():
        raise ControllerSilent(_silence_s)


def pause(seconds: float) -> None:
    """Wait, but not longer than the controller lives. Raises ControllerGone."""
    flush()
    until = time.monotonic() + seconds
    while True:
        wait_s = until - time.monotonic()
        _await(STDIN, select.POLLIN, max(0.0, min(wait_s, left_s())))
        look()
        if wait_s <= 0:
            return


def tell(line: bytes) -> None:
    """Say something, together with what follows at once: packets cost both sides more than lines do.

    It is on its way when we next wait or start a program, and at the latest with the first line that comes
    TOLD_AT_ONCE_S after the last one left. Raises ControllerGone.
    """
    _untold.extend(line)
    if len(_untold) >= TOLD_AT_ONCE_BYTES or time.monotonic() >= _told_at + TOLD_AT_ONCE_S:
        flush()


def take_back(line: bytes) -> None:
    """Unsay the line that was told last, if it was not sent yet."""
    if _untold.endswith(line):
        del _untold[-len(line) :]


def flush() -> None:
    """Send what was told. Raises ControllerGone."""
    global _told_at  # noqa: PLW0603
    _told_at = time.monotonic()
    while _untold:
        await_room()
        try:
            del _untold[: os.write(STDOUT, _untold[: select.PIPE_BUF])]
        except OSError:
            raise ControllerGone from None


def await_room() -> None:
    """Wait until stdout takes a little more. Raises ControllerGone: it may have vanished and left it full."""
    while not _await(STDOUT, select.POLLOUT, min(1.0, left_s())):
        _hear()


def has_room() -> bool:
    """Whether stdout takes a little more at once."""
    return _await(STDOUT, select.POLLOUT, 0)


def content_from() -> int:
    """The byte from which on the content comes that it was asked for. Raises ControllerGone."""
    try:
        import fcntl  # noqa: PLC0415 - only here

        fcntl.fcntl(STDIN, F_SETPIPE_SZ, PIPE_BYTES)
    except OSError:  # no pipe, or more than this user may have: it is only slower
        pass
    sign = memoryview(bytearray(1))
    while bytes(sign) != CONTENT:
        read_into(sign)
    number = bytearray(8)
    have = 0
    while have < len(number):
        have += read_into(memoryview(number)[have:])
    return int.from_bytes(number, "big")


def read_into(view: memoryview) -> int:
    """How many bytes came, at least one and at most what the view holds. Raises ControllerGone."""
    while not _await(STDIN, select.POLLIN, left_s()):
        if not left_s():
            raise ControllerSilent(_silence_s)
    return _read(view)


def _read(view: memoryview) -> int:
    global _heard_at  # noqa: PLW0603
    count = os.readv(STDIN, [view])
    if not count:
        raise ControllerGone
    _heard_at = time.monotonic()
    return count


def _await(descriptor: int, what: int, wait_s: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, what)
    return bool(poll.poll(wait_s * 1000))
