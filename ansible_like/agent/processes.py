"""Run commands in their own process group, and end with the group, the deadline or the controller."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Callable, Iterator

from ansible_like.agent import children, controller
from ansible_like.agent.children import Child
from ansible_like.agent.values import Completed, Run

KEPT_BYTES = 65536


def run(command: Run, on_line: Callable[[str], None] | None = None, guarded: bool = False) -> Completed:
    """Run to the end. ``on_line`` is called with each line of stdout while the command runs.

    Raises FileNotFoundError and PermissionError where the program can't be started, ControllerGone where the
    controller went away; in every case nothing of the command's process group is left running.
    ``guarded``: not even where we are killed.
    """
    controller.flush()
    began = time.monotonic()
    with _child_exits() as exits, _text_as_stdin(command.stdin) as stdin:
        child = children.start(command, stdin, guarded)
        try:
            outputs = _Outputs(child, on_line)
            in_time = _follow(child, outputs, exits, began + command.deadline_s)
        finally:
            exit_code = children.end_group(child)
            if guarded:
                children.announce(0)
            os.close(child.stdout)
            os.close(child.stderr)
    code = exit_code if in_time else None
    return Completed(code, outputs.text("stdout"), outputs.text("stderr"), time.monotonic() - began)


def _follow(child: Child, outputs: _Outputs, exits: int, deadline: float) -> bool:
    """Collect output until the child has exited; False when the deadline came first."""
    poll = select.poll()
    for descriptor in (controller.STDIN, exits, *outputs.open):
        poll.register(descriptor, select.POLLIN)
    while not children.exited(child):
        left_s = deadline - time.monotonic()
        if left_s <= 0:
            outputs.drain()
            return False
        ready = poll.poll(min(left_s, controller.left_s()) * 1000)
        controller.look()
        for descriptor, _ in ready:
            if descriptor == exits:
                os.read(exits, 4096)
            elif descriptor != controller.STDIN and not outputs.take(descriptor):
                poll.unregister(descriptor)
    outputs.drain()
    return True


class _Outputs:
    """The last part of both outputs, and stdout's lines as they come."""

    def __init__(self, child: Child, on_line: Callable[[str], None] | None) -> None:
        self.open: dict[int, str] = {child.stdout: "stdout", child.stderr: "stderr"}
        self._kept = {"stdout": bytearray(), "stderr": bytearray()}
        self._line = bytearray()
        self._on_line = on_line
        for descriptor in self.open:
            os.set_blocking(descriptor, False)

    def take(self, descriptor: int) -> bool:
        """Read what is there; False at the end of that output."""
        try:
            chunk = os.read(descriptor, KEPT_BYTES)
        except BlockingIOError:
            return True
        name = self.open[descriptor]
        kept = self._kept[name]
        kept += chunk
        del kept[:-KEPT_BYTES]
        if name == "stdout" and self._on_line:
            self._line += chunk
            *lines, self._line = self._line.split(b"\n")
            del self._line[:-KEPT_BYTES]
            for line in lines:
                self._on_line(line.decode("utf-8", "replace"))
        if not chunk:
            del self.open[descriptor]
        return bool(chunk)

    def drain(self) -> None:
        """Take what is still in the pipes of a child that ended, without waiting for who else holds them."""
        for descriptor in list(self.open):
            # as many reads as a full pipe needs, so that a daemon that goes on writing can't hold us
            for _ in range(16):
                if not _readable(descriptor, 0) or not self.take(descriptor):
                    break

    def text(self, name: str) -> str:
        return self._kept[name].decode("utf-8", "replace")


def _readable(descriptor: int, within_s: float) -> bool:
    return bool(select.select([descriptor], [], [], within_s)[0])


@contextlib.contextmanager
def _child_exits() -> Iterator[int]:
    """A descriptor that becomes readable when a child exits."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    handler = signal.signal(signal.SIGCHLD, lambda *_: None)
    wakeup = signal.set_wakeup_fd(writable, warn_on_full_buffer=False)
    try:
        yield readable
    finally:
        signal.set_wakeup_fd(wakeup)
        signal.signal(signal.SIGCHLD, handler)
        os.close(readable)
        os.close(writable)


@contextlib.contextmanager
def _text_as_stdin(text: str | None) -> Iterator[int]:
    """A descriptor to read the text from that was never on a disk."""
    if text is None:
        descriptor = os.open(os.devnull, os.O_RDONLY)
    else:
        descriptor = os.memfd_create("stdin")
        os.write(descriptor, text.encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def program_and_arguments(argv: tuple[str, ...] | str) -> tuple[str, ...]:
    """A str is a shell's script, a tuple a program with its arguments."""
    return ("/bin/sh", "-c", argv) if isinstance(argv, str) else tuple(argv)
