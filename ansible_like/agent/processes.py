"""Run commands in their own process group, and end with the group, the deadline or the controller."""

from __future__ import annotations

import contextlib
import os
import pwd
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Iterator

from ansible_like.agent.values import Completed, ControllerGone, Run

KEPT_BYTES = 65536
GRACE_S = 5.0
_warden: list[int] = []
CONTROLLER = 0  # our stdin: it is held open by the controller, so its end is the controller's end


def pause(seconds: float) -> None:
    """Wait, but not longer than the controller lives."""
    with selectors.DefaultSelector() as selector:
        selector.register(CONTROLLER, selectors.EVENT_READ)
        if selector.select(seconds):
            _read_controller()


def run(command: Run, on_line: Callable[[str], None] | None = None, guarded: bool = False) -> Completed:
    """Run to the end. ``on_line`` is called with each line of stdout while the command runs.

    Raises FileNotFoundError and PermissionError where the program can't be started, ControllerGone where the
    controller went away; in every case nothing of the command's process group is left running.
    ``guarded``: not even where we are killed.
    """
    began = time.monotonic()
    if guarded:
        _announce(0)  # it must be there before the command is

    def prepare() -> None:
        if guarded:
            _announce(os.getpid())
        if command.user is not None:
            _become(command.user)

    with _child_exits() as exits, _text_as_stdin(command.stdin) as stdin:
        try:
            child = subprocess.Popen(
                command.argv,
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                cwd=command.directory,
                env={**os.environ, **_home_of(command.user), **command.environment},
                preexec_fn=prepare if guarded or command.user is not None else None,  # noqa: PLW1509 - no threads here
            )
            try:
                outputs = _Outputs(child, on_line)
                in_time = _follow(child, outputs, exits, began + command.deadline_s)
            finally:
                _end_group(child)
                for pipe in (child.stdout, child.stderr):
                    if pipe:
                        pipe.close()
        finally:
            if guarded:
                _announce(0)
    code = child.returncode if in_time else None
    return Completed(code, outputs.text("stdout"), outputs.text("stderr"), time.monotonic() - began)


def _announce(group: int) -> None:
    """Tell the warden which process group runs now; 0: none."""
    if not _warden:
        _warden.append(_start_warden())
    os.write(_warden[0], b"%d\n" % group)


def _start_warden() -> int:
    """A process that ends the command when we can't, for we were killed; gives where to tell it of groups.

    It holds the host's lock as we do, so that a successor waits until it has done that.
    """
    told, tell = os.pipe()
    if os.fork():
        os.close(told)
        return tell
    try:
        os.setsid()
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, signal.SIG_IGN)
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        os.close(tell)
        group = 0
        while said := os.read(told, 4096):
            group = int(said.split()[-1])
        if group:
            _end_orphans(group)
    finally:
        os._exit(0)


def _end_orphans(group: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, signal.SIGTERM)
        until = time.monotonic() + GRACE_S
        while time.monotonic() < until:
            os.killpg(group, 0)
            time.sleep(0.02)
        os.killpg(group, signal.SIGKILL)


def _home_of(user: str | None) -> dict[str, str]:
    if user is None:
        return {}
    entry = pwd.getpwnam(user)
    return {"HOME": entry.pw_dir, "USER": user, "LOGNAME": user, "SHELL": entry.pw_shell or "/bin/sh"}


def _become(user: str | None) -> None:
    """In the child: Popen itself can do it only from Python 3.9 on."""
    entry = pwd.getpwnam(str(user))
    if entry.pw_uid != os.geteuid():
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)


def _follow(child: subprocess.Popen[bytes], outputs: _Outputs, exits: int, deadline: float) -> bool:
    """Collect output until the child has exited; False when the deadline came first."""
    with selectors.DefaultSelector() as selector:
        selector.register(CONTROLLER, selectors.EVENT_READ)
        selector.register(exits, selectors.EVENT_READ)
        for descriptor in outputs.open:
            selector.register(descriptor, selectors.EVENT_READ)
        while not _exited(child):
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                outputs.drain()
                return False
            for key, _ in selector.select(left_s):
                if key.fd == CONTROLLER:
                    _read_controller()
                elif key.fd == exits:
                    os.read(exits, 4096)
                elif not outputs.take(key.fd):
                    selector.unregister(key.fd)
    outputs.drain()
    return True


class _Outputs:
    """The last part of both outputs, and stdout's lines as they come."""

    def __init__(self, child: subprocess.Popen[bytes], on_line: Callable[[str], None] | None) -> None:
        assert child.stdout and child.stderr  # noqa: S101 - for the type checker: both are pipes
        self.open: dict[int, str] = {child.stdout.fileno(): "stdout", child.stderr.fileno(): "stderr"}
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
            with selectors.DefaultSelector() as selector:
                selector.register(descriptor, selectors.EVENT_READ)
                # as many reads as a full pipe needs, so that a daemon that goes on writing can't hold us
                for _ in range(16):
                    if not selector.select(0) or not self.take(descriptor):
                        break

    def text(self, name: str) -> str:
        return self._kept[name].decode("utf-8", "replace")


def _read_controller() -> None:
    if not os.read(CONTROLLER, 4096):
        raise ControllerGone


def _exited(child: subprocess.Popen[bytes]) -> bool:
    """Whether it ended; it is not reaped, so its process group's number can't be taken by another."""
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def _end_group(child: subprocess.Popen[bytes]) -> None:
    """End all that is left of the child's group: politely, then for good."""
    if not _exited(child):
        _signal_group(child, signal.SIGTERM)
        until = time.monotonic() + GRACE_S
        while not _exited(child) and time.monotonic() < until:
            time.sleep(0.02)
    _signal_group(child, signal.SIGKILL)
    child.wait()


def _signal_group(child: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


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
        yield subprocess.DEVNULL
        return
    descriptor = os.memfd_create("stdin")
    try:
        os.write(descriptor, text.encode())
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield descriptor
    finally:
        os.close(descriptor)


def program_and_arguments(argv: tuple[str, ...] | str) -> tuple[str, ...]:
    """A str is a shell's script, a tuple a program with its arguments."""
    return ("/bin/sh", "-c", argv) if isinstance(argv, str) else tuple(argv)
