"""The hands of the agent: every change to the host is made here, one action at a time."""

from __future__ import annotations

import contextlib
import grp
import os
import pwd
import shutil
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path

from ansible_like.agent import processes
from ansible_like.agent.values import (
    Action,
    ActionFailed,
    AwaitPath,
    AwaitPort,
    AwaitUnit,
    Completed,
    MakeDirectory,
    MakeLink,
    Remove,
    Run,
    SetAttributes,
    SetKernel,
    Tolerated,
    WriteFile,
)

POLL_S = 0.2
LOCK_RETRY_S = 2.0
LOCKED = ("Could not get lock", "Unable to acquire the dpkg frontend lock", "Unable to lock directory")


def perform(action: Action, on_line: Callable[[str], None]) -> Completed | None:
    """Do one action. Raises ActionFailed with what was tried and the reason; gives a command's outcome."""
    if isinstance(action, Run):
        return _run(action, on_line)
    try:
        if isinstance(action, WriteFile):
            _write_file(action)
        elif isinstance(action, SetAttributes):
            _set_attributes(action.path, action.mode, action.owner, action.group)
        elif isinstance(action, MakeDirectory):
            Path(action.path).mkdir(parents=True, exist_ok=True)
            _set_attributes(action.path, action.mode, action.owner, action.group)
        elif isinstance(action, MakeLink):
            _make_link(action)
        elif isinstance(action, Remove):
            _remove(action.path)
        elif isinstance(action, SetKernel):
            _set_kernel(action)
        elif isinstance(action, AwaitUnit):
            _await_unit(action)
        elif isinstance(action, AwaitPort):
            _await_port(action)
        else:
            _await_path(action)
    except (OSError, KeyError) as error:
        raise ActionFailed(
            _deed(action), None, str(error.args[0] if len(error.args) == 1 else error)
        ) from error
    return None


def read(argv: tuple[str, ...], deadline_s: float = 60) -> Completed:
    """A command that only reads, for facts; one that isn't there ends as in a shell, with exit code 127."""
    try:
        return processes.run(Run(argv, deadline_s=deadline_s, environment={"LC_ALL": "C"}))
    except FileNotFoundError:
        return Completed(127, "", f"{argv[0]}: not found", 0.0)


def kernel_path(key: str) -> Path:
    """Where a sysctl key stands; written with slashes its parts may have dots, as in sysctl(8)."""
    return Path("/proc/sys") / (key if "/" in key else key.replace(".", "/"))


def unit_state(unit: str) -> str:
    return read(("systemctl", "show", "--property=ActiveState", "--value", unit)).stdout.strip()


def port_listens(address: str, port: int) -> bool:
    try:
        with socket.create_connection((address, port), timeout=2):
            return True
    except OSError:
        return False


def _run(action: Run, on_line: Callable[[str], None]) -> Completed:
    def progress(line: str) -> None:
        if line.startswith("PROGRESS "):
            on_line(line[len("PROGRESS ") :].strip())

    deed = " ".join(action.argv)
    patient_until = time.monotonic() + action.lock_timeout_s
    while True:
        try:
            done = processes.run(action, progress if action.progress else None)
        except OSError as error:
            raise ActionFailed(deed, 127, f"cannot be started: {error}") from error
        if done.exit_code in action.ok_codes:
            return done
        locked = any(sign in done.stderr for sign in LOCKED)
        if not locked or time.monotonic() >= patient_until:
            break
        processes.pause(LOCK_RETRY_S)
    if done.exit_code is None:
        ending = f"did not end within {action.deadline_s:g} s and was killed"
        raise ActionFailed(deed, None, f"{ending}\n{done.last_lines}".strip() + _journal(action.unit))
    raise ActionFailed(deed, done.exit_code, done.last_lines + _journal(action.unit))


def _write_file(action: WriteFile) -> None:
    path = Path(action.path)
    # the name is fixed, so what a power loss leaves behind is taken away by the next run
    temporary = path.with_name(f".{path.name}.ansible_like")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(action.content)
            file.flush()
            os.fsync(descriptor)
        _set_attributes(str(temporary), action.mode, action.owner, action.group)
        temporary.replace(path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def _set_attributes(path: str, mode: int, owner: str, group: str) -> None:
    os.chown(path, _user_id(owner), _group_id(group), follow_symlinks=False)
    os.chmod(path, mode)


def _user_id(name: str) -> int:
    try:
        return int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid
    except KeyError:
        raise KeyError(f"no user {name!r} on this host") from None


def _group_id(name: str) -> int:
    try:
        return int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
    except KeyError:
        raise KeyError(f"no group {name!r} on this host") from None


def _make_link(action: MakeLink) -> None:
    path = Path(action.path)
    temporary = path.with_name(f".{path.name}.ansible_like")
    with contextlib.suppress(FileNotFoundError):
        temporary.unlink()
    temporary.symlink_to(action.target)
    temporary.replace(path)


def _remove(path: str) -> None:
    if stat.S_ISDIR(os.lstat(path).st_mode):
        shutil.rmtree(path)
    else:
        Path(path).unlink()


def _set_kernel(action: SetKernel) -> None:
    try:
        kernel_path(action.key).write_text(action.value)
    except OSError as error:
        if not action.tolerated:
            raise
        raise Tolerated(f"{action.key}: the kernel refuses {action.value} ({error.strerror})") from error


def _await_unit(action: AwaitUnit) -> None:
    until = time.monotonic() + action.deadline_s
    while True:
        state = unit_state(action.unit)
        if state == "active":
            return
        if state == "failed" or time.monotonic() >= until:
            within = "" if state == "failed" else f" after {action.deadline_s:g} s"
            raise ActionFailed(_deed(action), None, f"{state}{within}{_journal(action.unit)}")
        processes.pause(POLL_S)


def _journal(unit: str) -> str:
    """The unit's last lines, each on a line of its own."""
    if not unit:
        return ""
    lines = read(("journalctl", "--no-pager", "--output=cat", "--lines=20", f"--unit={unit}")).stdout.strip()
    return f"\njournal of {unit}:\n{lines}" if lines else ""


def _await_port(action: AwaitPort) -> None:
    until = time.monotonic() + action.deadline_s
    while not port_listens(action.address, action.port):
        if time.monotonic() >= until:
            raise ActionFailed(_deed(action), None, f"nothing listens after {action.deadline_s:g} s")
        processes.pause(POLL_S)


def _await_path(action: AwaitPath) -> None:
    until = time.monotonic() + action.deadline_s
    while not os.path.lexists(action.path):
        if time.monotonic() >= until:
            raise ActionFailed(_deed(action), None, f"not there after {action.deadline_s:g} s")
        processes.pause(POLL_S)


def _deed(action: Action) -> str:
    """The action in words, without contents."""
    if isinstance(action, (AwaitUnit, AwaitPort, AwaitPath)):
        what = action.unit if isinstance(action, AwaitUnit) else getattr(action, "path", None)
        return f"wait for {what or '{}:{}'.format(*action)}"
    if isinstance(action, SetKernel):
        return f"set {action.key} = {action.value}"
    words = {
        WriteFile: "write",
        SetAttributes: "set mode and owner of",
        MakeDirectory: "make directory",
        MakeLink: "make link",
        Remove: "remove",
    }
    return f"{words[type(action)]} {getattr(action, 'path', '')}"
