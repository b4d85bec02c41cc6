"""Start programs, and have them ended where we can't end them ourselves.

``subprocess`` would do the first, and take longer to load than a run without changes takes.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import time
from typing import NamedTuple

from ansible_like.agent.values import Run

GRACE_S = 5.0
_warden: list[int] = []


class Child(NamedTuple):
    """A program that leads a process group of its own; the outputs are ours to read and to close."""

    pid: int
    stdout: int
    stderr: int


def start(command: Run, stdin: int, guarded: bool) -> Child:
    """Start a command; ``guarded``: it ends also where we are killed.

    Raises OSError where the program can't be started or its directory not be entered.
    """
    if guarded:
        announce(0)  # so that the warden is there before the program is
    stdout, stderr, failure = os.pipe(), os.pipe(), os.pipe()
    pid = os.fork()
    if not pid:
        _become(command, (stdin, stdout[1], stderr[1]), failure[1], guarded)
    for _, ours_no_more in (stdout, stderr, failure):
        os.close(ours_no_more)
    with open(failure[0], "rb") as told:
        reason = told.read().decode("utf-8", "surrogateescape")  # its end comes with the program
    if reason:
        os.waitpid(pid, 0)
        os.close(stdout[0])
        os.close(stderr[0])
        number, _, what = reason.partition(" ")
        raise OSError(int(number), os.strerror(int(number)), what)
    return Child(pid, stdout[0], stderr[0])


def _become(command: Run, streams: tuple[int, int, int], failure: int, guarded: bool) -> None:
    """In the child; does not come back."""
    what = command.argv[0]
    try:
        os.setsid()
        if guarded:
            announce(os.getpid())
        for number in (signal.SIGPIPE, signal.SIGXFSZ):  # Python ignores them, programs expect that they act
            signal.signal(number, signal.SIG_DFL)
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
        what = command.directory
        os.chdir(command.directory)
        what = command.argv[0]
        environment = {**os.environ, **command.environment}
        if command.user is not None:
            environment = {**os.environ, **_become_user(command.user), **command.environment}
        os.execvpe(command.argv[0], command.argv, environment)  # noqa: S606 - a shell is for who asks for one
    except OSError as error:
        os.write(failure, f"{error.errno} {what}".encode("utf-8", "surrogateescape"))
    finally:
        os._exit(127)


def _become_user(user: str) -> dict[str, str]:
    """Be another user from here on; gives what that changes in the environment."""
    entry = pwd.getpwnam(user)
    if entry.pw_uid != os.geteuid():
        os.initgroups(entry.pw_name, entry.pw_gid)
        os.setgid(entry.pw_gid)
        os.setuid(entry.pw_uid)
    return {"HOME": entry.pw_dir, "USER": user, "LOGNAME": user, "SHELL": entry.pw_shell or "/bin/sh"}


def exited(child: Child) -> bool:
    """Whether it ended; it is not reaped, so its process group's number can't be taken by another."""
    return os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT | os.WNOHANG) is not None


def end_group(child: Child) -> int:
    """End all that is left of the child's group, politely, then for good; gives the child's exit code.

    It is negative where a signal ended the child.
    """
    if not exited(child):
        _signal_group(child, signal.SIGTERM)
        until = time.monotonic() + GRACE_S
        while not exited(child) and time.monotonic() < until:
            time.sleep(0.02)
    _signal_group(child, signal.SIGKILL)
    status = os.waitpid(child.pid, 0)[1]
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def _signal_group(child: Child, number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


def announce(group: int) -> None:
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
