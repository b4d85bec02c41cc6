"""Bring many hosts to their desired state at once: one channel, one agent and one outcome per host."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import socket
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any, Final

import paramiko

from ansible_like import program
from ansible_like.connection import Connection, Target
from ansible_like.operations import Command, Operation, digest, encode, names_of, references_of
from ansible_like.result import (
    BadPlay,
    EngineError,
    Event,
    HostBusy,
    HostResult,
    Interrupted,
    OperationResult,
    PythonMissing,
    StepFailed,
    SudoRefused,
)

__all__ = ["apply", "digest"]

LOCK_WAIT_S: Final = 10.0  # what the agent of a controller that was killed needs to end its own command
STDERR_BYTES: Final = 65536


def apply(
    hosts: Mapping[Target, Sequence[Operation]],
    *,
    check: bool = False,
    connect_deadline_s: float = 300,
    on_event: Callable[[Event], None] | None = None,
    on_result: Callable[[HostResult], None] | None = None,
    state_directory: str | None = None,
) -> dict[str, HostResult]:
    """Converge all hosts in parallel; the result is by the target's name, and no failure hides another.

    ``check`` reports what would change, and changes nothing. ``on_event`` is called from the hosts' threads,
    and so is ``on_result`` when a host has come to its end, also after Ctrl-C; what they raise ends all
    hosts' runs and is raised here.
    ``state_directory`` on the host holds the lock and the marks of a run that was killed: by default
    /var/lib/ansible_like, for a user who isn't root ~/.local/state/ansible_like.
    Raises BadPlay before anything is sent when a desired state can't be used; all else is in the results.
    """
    _refuse_bad_plays(hosts)
    if not hosts:
        return {}

    runs = [
        _HostRun(target, hosts[target], on_event or (lambda _: None), on_result or (lambda _: None))
        for target in hosts
    ]
    with ThreadPoolExecutor(max_workers=len(hosts), thread_name_prefix="host") as pool:
        try:
            futures = [pool.submit(run.outcome, connect_deadline_s, check, state_directory) for run in runs]
            done = {result.host: result for result in (future.result() for future in as_completed(futures))}
        except BaseException:
            # Ctrl-C, or the caller's own: else the pool would wait until every host had come to its end
            for run in runs:
                run.cancel()
            raise
    return {target.name: done[target.name] for target in hosts}


class _HostRun:
    """What the agent of one host says, turned into events and results."""

    def __init__(
        self,
        target: Target,
        operations: Sequence[Operation],
        on_event: Callable[[Event], None],
        on_result: Callable[[HostResult], None],
    ) -> None:
        self._target = target
        self._operations = operations
        self._on_event = on_event
        self._on_result = on_result
        self._at = "the agent was started"
        self._heard = False
        self._ended = False
        self._results: list[OperationResult] = []
        self._cancelled = threading.Event()
        self._connection: Connection | None = None

    def outcome(self, connect_deadline_s: float, check: bool, state_directory: str | None) -> HostResult:
        """Connect and converge; every failure becomes part of the result."""
        error: EngineError | None = None
        try:
            with Connection.open(self._target, connect_deadline_s, self._cancelled) as self._connection:
                # set between the last attempt and now, when there was nothing to close
                if self._cancelled.is_set():
                    raise self._interrupted()
                self._lead(self._connection, check, state_directory)
        except EngineError as known:
            error = self._interrupted() if self._cancelled.is_set() else known
        result = HostResult(self._target.name, tuple(self._results), error)
        self._on_result(result)
        return result

    def cancel(self) -> None:
        """End as soon as possible; the agent sees its channel close, and ends what it runs."""
        self._cancelled.set()
        if self._connection:
            self._connection.close()

    def _interrupted(self) -> Interrupted:
        moment = f"when {self._at}" if self._heard else "before its first step"
        return Interrupted(
            self._target.name,
            f"the run was ended {moment}",
            "run it again: it goes on where it stopped",
        )

    def _lead(self, connection: Connection, check: bool, state_directory: str | None) -> None:
        """Send everything, and follow until the agent's last word. Raises EngineError."""
        desired = {
            "who": f"process {os.getpid()} on {socket.gethostname()}",
            "check": check,
            "lock_wait_s": LOCK_WAIT_S,
            "state_directory": state_directory,
            "operations": [encode(operation) for operation in self._operations],
        }
        command = shlex.join([*connection.elevation(self._target.sudo), *program.ARGUMENTS])
        with connection.channel(command) as channel:
            # a program that could not start closes the channel under our hands, and says why on stderr
            with contextlib.suppress(OSError):
                channel.sendall(program.payload(desired, self._target.private_key.encode()))
            for line in _lines(channel):
                self._hear(line)
            if not self._ended:
                raise self._broken(connection, channel)

    def _hear(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            if self._heard:
                raise
            return  # what a login shell's start-up files print
        self._heard = True
        if "busy" in said:
            raise HostBusy(
                self._target.name,
                f"another run holds this host: {said['busy']}",
                "wait until it has ended, or end it where it runs",
            )
        if "end" in said:
            self._ended = True
            return
        index = said["index"]
        title = self._operations[index].title
        total = len(self._operations)

        def tell(status: Any, detail: str = "", result: OperationResult | None = None) -> None:
            self._on_event(Event(self._target.name, index + 1, total, title, status, detail, result))

        if "progress" in said:
            tell("progress", said["progress"])
        elif said["status"] == "started":
            self._at = f"step {index + 1} of {total}, {title}, was running"
            tell("started")
        else:
            result = OperationResult(
                title, **{name: value for name, value in said.items() if name != "index"}
            )
            self._results.append(result)
            tell(result.status, result.why, result)
            if result.status == "failed":
                self._ended = True
                raise StepFailed(self._target.name, f"{index + 1} of {total}", result)

    def _broken(self, connection: Connection, channel: paramiko.Channel) -> EngineError:
        """Why the agent ended without its last word."""
        stderr = _rest_of_stderr(channel)
        code = channel.recv_exit_status()
        name = self._target.name
        if code == program.TOO_OLD:
            return PythonMissing(
                name, f"its python3 is {stderr.split()[0]}", "install a python3 of 3.8 or newer there"
            )
        if not self._heard and "Traceback" not in stderr:
            if "python3" in stderr:
                return PythonMissing(name, f"it has no python3: {stderr.strip()}", "install python3 there")
            if "sudo" in stderr:
                return SudoRefused(
                    name,
                    f"{self._target.user} may not become root: {stderr.strip()}",
                    "let sudo take this user without a password (NOPASSWD), or connect as root",
                )
        if code == -1 and connection.is_lost():
            return connection.lost(self._at)
        return EngineError(
            name,
            f"the agent {f'ended with exit code {code}' if code != -1 else 'was killed'} when {self._at}"
            + "".join(f"\n      {line}" for line in stderr.strip().splitlines()),
            "see whether the host ran out of memory (`dmesg`); if not, report this as a fault of the engine",
        )


def _lines(channel: paramiko.Channel) -> Iterator[bytes]:
    """The lines of stdout as they come."""
    rest = b""
    while chunk := channel.recv(65536):
        *lines, rest = (rest + chunk).split(b"\n")
        yield from lines


def _rest_of_stderr(channel: paramiko.Channel) -> str:
    said = b""
    while len(said) < STDERR_BYTES and (chunk := channel.recv_stderr(STDERR_BYTES)):
        said += chunk
    return said.decode("utf-8", "replace")


def _refuse_bad_plays(hosts: Mapping[Target, Sequence[Operation]]) -> None:
    """Raise BadPlay with everything that is wrong in what was written, over all hosts."""
    names = [target.name for target in hosts]
    problems = [f"two hosts are called {name}" for name in sorted({n for n in names if names.count(n) > 1})]
    for target, operations in hosts.items():
        problems += [f"{target.name}: {problem}" for problem in problems_of(operations)]
    if problems:
        who = names[0] if len(names) == 1 else f"{len(names)} hosts"
        raise BadPlay(who, "\n      ".join(["the desired state can't be used:", *problems]), "correct it")


def problems_of(operations: Sequence[Operation]) -> Iterator[str]:
    """What is wrong in the desired state of one host."""
    earlier: set[str] = set()
    titles: set[str] = set()
    for operation in operations:
        path = getattr(operation, "path", None)
        if path is not None and not path.startswith("/"):
            yield f"{operation.title}: {path!r} is not an absolute path"
        if operation.title in titles:
            name = " (give each a name)" if isinstance(operation, Command) else ""
            yield f"{operation.title} stands there twice{name}"
        for reference in references_of(operation):
            if reference not in earlier:
                yield f"{operation.title}: no earlier operation is called {reference!r}"
        titles.add(operation.title)
        earlier.update(names_of(operation))
