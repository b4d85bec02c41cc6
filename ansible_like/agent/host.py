"""The hands of the agent: every change to the host is made here, one action at a time."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ansible_like.agent import controller, names, processes
from ansible_like.agent.values import (
    Action,
    ActionFailed,
    AwaitPath,
    AwaitPort,
    AwaitUnit,
    AwaitUrl,
    Completed,
    EndBoot,
    Fetch,
    MakeDirectory,
    MakeLink,
    Receive,
    Remove,
    Run,
    SetAttributes,
    SetKernel,
    Tolerated,
    WriteFile,
)
from ansible_like.operations import masked_url

POLL_S = 0.2
ANSWER_S = 5
LOCK_RETRY_S = 2.0
LOCKED = ("Could not get lock", "Unable to acquire the dpkg frontend lock", "Unable to lock directory")


def perform(action: Action, tell: Callable[..., None]) -> Completed | None:
    """Do one action. Raises ActionFailed with what was tried and the reason; gives a command's outcome.

    ``tell`` says something to the controller meanwhile: ``progress``, or what is needed from there.
    """
    if not isinstance(action, WriteFile):
        names.forget()  # a command may change them, and whatever else goes on in a wait
    if isinstance(action, Run):
        return _run(action, lambda text: tell(progress=text))
    try:
        if isinstance(action, (Receive, Fetch)):
            _bring(action, tell)
        else:
            DEEDS[type(action)](action)
    except (OSError, KeyError) as error:
        raise ActionFailed(
            _deed(action), None, str(error.args[0] if len(error.args) == 1 else error)
        ) from error
    return None


def read(argv: tuple[str, ...], directory: str = "/", user: str | None = None) -> Completed:
    """A command that only reads, for facts; one that isn't there ends as in a shell, with exit code 127."""
    try:
        return processes.run(Run(argv, environment={"LC_ALL": "C"}, directory=directory, user=user))
    except FileNotFoundError:
        return Completed(127, "", f"{argv[0]}: not found", 0.0)


def kernel_path(key: str) -> Path:
    """Where a sysctl key stands; written with slashes its parts may have dots, as in sysctl(8)."""
    return Path("/proc/sys") / (key if "/" in key else key.replace(".", "/"))


def unit_state(unit: str) -> str:
    return read(("systemctl", "show", "--property=ActiveState", "--value", unit)).stdout.strip()


def port_fault(address: str, port: int) -> str:
    """Why nothing listens there; empty: something does."""
    try:
        with socket.create_connection((address, port), timeout=ANSWER_S):
            return ""
    except OSError as error:
        return _reason(error)


def url_fault(url: str, status: int | None) -> str:
    """What the URL answers instead of the wanted status; empty: as wanted. A redirection is not followed."""
    import base64  # noqa: PLC0415 - with what follows 60 ms that only this needs
    import http.client  # noqa: PLC0415
    import urllib.parse  # noqa: PLC0415

    parts = urllib.parse.urlsplit(url)
    secure = parts.scheme == "https"
    connect = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    place = urllib.parse.urlunsplit(("", "", parts.path or "/", parts.query, ""))
    headers = {}
    if parts.username is not None:
        user = f"{urllib.parse.unquote(parts.username)}:{urllib.parse.unquote(parts.password or '')}"
        headers["Authorization"] = "Basic " + base64.b64encode(user.encode()).decode()
    try:
        connection = connect(parts.hostname or "", parts.port, timeout=ANSWER_S)
        try:
            connection.request("GET", place, headers=headers)
            answer = connection.getresponse()
        finally:
            connection.close()
    except OSError as error:
        return _reason(error)
    except http.client.HTTPException as error:
        return f"no HTTP: {type(error).__name__}"
    wanted = 200 <= answer.status < 400 if status is None else answer.status == status
    return "" if wanted else f"HTTP status {answer.status} {answer.reason}".rstrip()


def _reason(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()


def _run(action: Run, on_line: Callable[[str], None]) -> Completed:
    def progress(line: str) -> None:
        if line.startswith("PROGRESS "):
            on_line(line[len("PROGRESS ") :].strip())

    deed = " ".join(action.argv)
    patient_until = time.monotonic() + action.lock_timeout_s
    tries = 1
    while True:
        if action.lock_timeout_s:
            _await_locks(deed, patient_until, action.lock_timeout_s, on_line)
        try:
            done = processes.run(action, progress if action.progress else None, guarded=True)
        except OSError as error:
            raise ActionFailed(deed, 127, f"cannot be started: {error}") from error
        if done.exit_code in action.ok_codes:
            return done
        if any(sign in done.stderr for sign in LOCKED) and time.monotonic() < patient_until:
            controller.pause(LOCK_RETRY_S)
        elif done.exit_code is not None and tries <= action.retries:
            left = action.retries - tries + 1
            on_line(f"exit code {done.exit_code}; again in {action.retry_delay_s:g} s, {left} more at most")
            controller.pause(action.retry_delay_s)
            tries += 1
        else:
            break
    if action.tolerated:
        raise Tolerated(f"{deed}: {done.last_lines or 'failed'}")
    if done.exit_code is None:
        ending = f"did not end within {action.deadline_s:g} s and was killed"
        raise ActionFailed(deed, None, f"{ending}\n{done.last_lines}".strip() + _journal(action.unit))
    often = f"tried {tries} times\n" if tries > 1 else ""
    raise ActionFailed(deed, done.exit_code, often + done.last_lines + _journal(action.unit))


def _await_locks(deed: str, until: float, timeout_s: float, on_line: Callable[[str], None]) -> None:
    """Until nobody holds apt's locks, and say who does: apt's own wait is silent, and not for all of them."""
    from ansible_like.agent import locks  # noqa: PLC0415 - only packages need it

    told = ""
    while holder := locks.holder():
        if time.monotonic() >= until:
            raise ActionFailed(deed, None, f"waited {timeout_s:g} s for {holder}")
        if holder != told:
            on_line(f"waits for {holder}")
            told = holder
        controller.pause(POLL_S)


def _write_file(action: WriteFile) -> None:
    folder, _, name = action.path.rpartition("/")
    # the name is fixed, so what a power loss leaves behind is taken away by the next run
    temporary = f"{folder}/.{name}.ansible_like"
    try:
        # without a buffer of Python's: a play may have thousands of them
        with open(_created(temporary), "wb", buffering=0) as file:
            write(file.fileno(), memoryview(action.content), 0)
            os.fsync(file.fileno())
        set_attributes(temporary, action.mode, action.owner, action.group)
        os.replace(temporary, action.path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise


def write(descriptor: int, piece: memoryview, at: int) -> None:
    """All of the piece into the file, from this byte on."""
    while piece:
        count = os.pwrite(descriptor, piece, at)
        piece, at = piece[count:], at + count


def _created(path: str) -> int:
    """A new file, for us alone."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
    try:
        return os.open(path, flags, 0o600)
    except FileExistsError:
        os.unlink(path)
        return os.open(path, flags, 0o600)


def set_attributes(path: str, mode: int, owner: str, group: str) -> None:
    os.chown(path, names.user_id(owner), names.group_id(group), follow_symlinks=False)
    os.chmod(path, mode)


def _make_directory(action: MakeDirectory) -> None:
    Path(action.path).mkdir(parents=True, exist_ok=True)
    set_attributes(action.path, action.mode, action.owner, action.group)


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
        controller.pause(POLL_S)


def _journal(unit: str) -> str:
    """The unit's last lines, each on a line of its own."""
    if not unit:
        return ""
    lines = read(("journalctl", "--no-pager", "--output=cat", "--lines=20", f"--unit={unit}")).stdout.strip()
    return f"\njournal of {unit}:\n{lines}" if lines else ""


def _await_port(action: AwaitPort) -> None:
    _await(action, lambda: port_fault(action.address, action.port), "nothing listens")


def _await_url(action: AwaitUrl) -> None:
    _await(action, lambda: url_fault(action.url, action.status), "no such answer")


def _end_boot(action: EndBoot) -> None:
    until = time.monotonic() + action.deadline_s
    done = read(("systemctl", "reboot"))
    if done.exit_code != 0:
        raise ActionFailed("systemctl reboot", done.exit_code, done.last_lines)
    while time.monotonic() < until:
        controller.pause(POLL_S)  # the host's end is ours
    raise ActionFailed("systemctl reboot", None, f"the host still runs after {action.deadline_s:g} s")


def _await(action: AwaitPort | AwaitUrl, fault_now: Callable[[], str], missing: str) -> None:
    until = time.monotonic() + action.deadline_s
    while True:
        fault = fault_now()
        if not fault:
            return
        if time.monotonic() >= until:
            raise ActionFailed(
                _deed(action), None, f"{missing} after {action.deadline_s:g} s; last seen: {fault}"
            )
        controller.pause(POLL_S)


def _bring(action: Receive | Fetch, tell: Callable[..., None]) -> None:
    if isinstance(action, Receive):
        from ansible_like.agent import uploads  # noqa: PLC0415 - few runs need it

        uploads.receive(action, tell)
    else:
        from ansible_like.agent import downloads  # noqa: PLC0415

        downloads.fetch(action, tell)


def _await_path(action: AwaitPath) -> None:
    until = time.monotonic() + action.deadline_s
    while not os.path.lexists(action.path):
        if time.monotonic() >= until:
            raise ActionFailed(_deed(action), None, f"not there after {action.deadline_s:g} s")
        controller.pause(POLL_S)


DEEDS: dict[type[Any], Callable[[Any], None]] = {
    WriteFile: _write_file,
    SetAttributes: lambda action: set_attributes(*action),
    MakeDirectory: _make_directory,
    MakeLink: _make_link,
    Remove: lambda action: _remove(action.path),
    SetKernel: _set_kernel,
    AwaitUnit: _await_unit,
    AwaitPort: _await_port,
    AwaitPath: _await_path,
    AwaitUrl: _await_url,
    EndBoot: _end_boot,
}


def _deed(action: Action) -> str:
    """The action in words, without contents."""
    if isinstance(action, (AwaitUnit, AwaitPort, AwaitPath)):
        what = action.unit if isinstance(action, AwaitUnit) else getattr(action, "path", None)
        return f"wait for {what or '{}:{}'.format(*action)}"
    if isinstance(action, AwaitUrl):
        return f"wait for {masked_url(action.url)}"
    if isinstance(action, SetKernel):
        return f"set {action.key} = {action.value}"
    if isinstance(action, EndBoot):
        return "boot anew"
    words = {
        WriteFile: "write",
        Receive: "receive",
        Fetch: "fetch",
        SetAttributes: "set mode and owner of",
        MakeDirectory: "make directory",
        MakeLink: "make link",
        Remove: "remove",
    }
    return f"{words[type(action)]} {getattr(action, 'path', '')}"
