"""Bring many hosts to their desired state at once: one channel, one agent and one outcome per host."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Final, NamedTuple

from ansible_like import program
from ansible_like.agent.controller import ALIVE
from ansible_like.agent.values import GONE
from ansible_like.connection import KEEPALIVE_S, SILENCE_S, Connection, Start, Target, sudo_refused
from ansible_like.jumps import Jumps
from ansible_like.lean import paramiko
from ansible_like.operations import Operation, Reboot, Upload
from ansible_like.problems import Problem, over_hosts, problems_of
from ansible_like.result import (
    AuthenticationRefused,
    BadPlay,
    ConnectionLost,
    EngineError,
    Event,
    EventStatus,
    HostBusy,
    HostResult,
    Interrupted,
    OperationResult,
    PythonMissing,
    StateUnusable,
    StepFailed,
    Unreachable,
)
from ansible_like.sources import SourceFault, Sources, digest, problems_of_sources

__all__ = ["apply", "digest"]

LOCK_WAIT_S: Final = 10.0  # what the agent of a controller that was killed needs to end its own command
SILENCE_WAIT_S: Final = 90.0  # what an agent needs that doesn't know yet that its connection is gone
LOSSES_A_STEP: Final = 3
RECEIVE_BYTES: Final = 65536
STDERR_BYTES: Final = 65536


def apply(
    hosts: Mapping[Target, Sequence[Operation]],
    *,
    check: bool = False,
    diff: bool = False,
    connect_deadline_s: float = 300,
    reconnect_deadline_s: float = 300,
    purpose: str = "apply",
    on_event: Callable[[Event], None] | None = None,
    on_result: Callable[[HostResult], None] | None = None,
    state_directory: str | None = None,
) -> dict[str, HostResult]:
    """Converge all hosts in parallel; the result is by the target's name, and no failure hides another.

    ``check`` reports what would change, and changes nothing; ``diff`` brings what changes in files, too.
    A connection that ends in the middle is opened again within ``reconnect_deadline_s`` (0: it is not), and
    the run goes on in the step it was in; after three losses in one step it has failed.
    ``purpose`` is what another run is told while this one holds the host. ``on_event`` is called from the
    hosts' threads, and so is ``on_result`` when a host has come to its end, also after Ctrl-C; what they
    raise ends all hosts' runs and is raised here. While one is at work its host hears nothing from here, and
    after SILENCE_S counts this machine as gone.
    ``state_directory`` on the host holds the lock and the journal of what was done: by default
    /var/lib/ansible_like, for a user who isn't root ~/.local/state/ansible_like.
    Raises BadPlay before anything is sent when a desired state can't be used; all else is in the results.
    """
    _refuse_bad_plays(hosts)
    if not hosts:
        return {}

    jumps = Jumps()
    sources = Sources(operation for operations in hosts.values() for operation in operations)
    ways = Ways(
        check, diff, connect_deadline_s, reconnect_deadline_s, purpose, state_directory, jumps, sources
    )
    runs = [
        _HostRun(target, hosts[target], ways, on_event or (lambda _: None), on_result or (lambda _: None))
        for target in hosts
    ]
    with jumps, ThreadPoolExecutor(max_workers=len(hosts), thread_name_prefix="host") as pool:
        try:
            futures = [pool.submit(run.outcome) for run in runs]
            done = {result.host: result for result in (future.result() for future in as_completed(futures))}
        except BaseException:
            # Ctrl-C, or the caller's own: else the pool would wait until every host had come to its end
            for run in runs:
                run.cancel()
            raise
        finally:
            sources.end()
    return {target.name: done[target.name] for target in hosts}


class Ways(NamedTuple):
    """How all hosts of one run are led; see ``apply``."""

    check: bool
    diff: bool
    connect_deadline_s: float
    reconnect_deadline_s: float
    purpose: str
    state_directory: str | None
    jumps: Jumps
    sources: Sources


class _HostRun:
    """What the agent of one host says, turned into events and results."""

    def __init__(
        self,
        target: Target,
        operations: Sequence[Operation],
        ways: Ways,
        on_event: Callable[[Event], None],
        on_result: Callable[[HostResult], None],
    ) -> None:
        self._target = target
        self._operations = operations
        self._ways = ways
        self._on_event = on_event
        self._on_result = on_result
        self._run = os.urandom(8).hex()  # by which the host knows it over all its connections
        self._at = "the agent was started"
        self._step = -1
        self._heard = False
        self._ended = False
        self._sending: Iterator[bytes] | None = None
        self._arrived_bytes = 0
        self._results: dict[int, OperationResult] = {}
        self._cancelled = threading.Event()
        self._connection: Connection | None = None

    def outcome(self) -> HostResult:
        """Connect and converge; every failure becomes part of the result."""
        error: EngineError | None = None
        try:
            self._converge()
        except EngineError as known:
            error = self._interrupted() if self._cancelled.is_set() else known
        result = HostResult(self._target.name, tuple(self._results.values()), error)
        self._on_result(result)
        return result

    def _converge(self) -> None:
        """Lead to the end, over as many connections as it takes. Raises EngineError."""
        deadline_s, lock_wait_s = self._ways.connect_deadline_s, LOCK_WAIT_S
        lost: ConnectionLost | None = None
        losses, done = 0, (0, 0)
        while True:
            try:
                start = self._start(lock_wait_s)
                way = Connection.open(self._target, deadline_s, self._cancelled, self._ways.jumps, start)
                with way as self._connection:
                    # set between the last attempt and now, when there was nothing to close
                    if self._cancelled.is_set():
                        raise self._interrupted()
                    self._lead(self._connection, start)
                    return
            except ConnectionLost as error:
                before, done, lost = done, (len(self._results), self._arrived_bytes), error
                losses = losses + 1 if done == before else 1
                reboot = self._reboot()
                deadline_s = reboot.deadline_s if reboot else self._ways.reconnect_deadline_s
                if not deadline_s or losses > LOSSES_A_STEP or self._cancelled.is_set():
                    raise
                lock_wait_s = SILENCE_WAIT_S
                self._tell(
                    self._step, "progress", "boots anew" if reboot else f"{error.what}; connecting anew"
                )
            except (Unreachable, AuthenticationRefused) as error:
                if not lost:
                    raise
                raise ConnectionLost(error.host, f"{lost.what}; then {error.what}", error.remedy) from error

    def _reboot(self) -> Reboot | None:
        """The reboot that the host is in the middle of, if it is."""
        step = self._operations[self._step] if self._step >= 0 else None
        return step if isinstance(step, Reboot) and self._step not in self._results else None

    def cancel(self) -> None:
        """End as soon as possible; the agent sees its channel close, and ends what it runs."""
        self._cancelled.set()
        if self._connection:
            self._connection.close()

    def _interrupted(self) -> Interrupted:
        moment = f"when {self._at}" if self._step >= 0 else "before its first step"
        return Interrupted(
            self._target.name,
            f"the run was ended {moment}",
            "run it again: it goes on where it stopped",
        )

    def _start(self, lock_wait_s: float) -> Start:
        """The agent, and all that it is to do. Raises EngineError."""
        order = {
            "run": self._run,
            "who": f"process {os.getpid()} on {socket.gethostname()}",
            "purpose": self._ways.purpose,
            "check": self._ways.check,
            "diff": self._ways.diff,
            "lock_wait_s": lock_wait_s,
            "silence_s": SILENCE_S,
            "state_directory": self._ways.state_directory,
            "secrets": [self._target.sudo_password] if self._target.sudo_password else [],
        }
        try:
            operations = self._ways.sources.packed(self._operations)
        except SourceFault as fault:
            raise EngineError(
                self._target.name, f"{fault}; nothing was sent", "mend it and run again"
            ) from fault
        payload = program.payload(order, operations, self._target.private_key.encode())
        return Start(program.ARGUMENTS, payload, self._target.sudo)

    def _lead(self, connection: Connection, start: Start) -> None:
        """Follow the agent until its last word. Raises EngineError."""
        self._sending, self._heard = None, False
        with connection.started(start) as channel:
            self._follow(channel)
            if not self._ended:
                raise self._broken(connection, channel)

    def _follow(self, channel: paramiko.Channel) -> None:
        """Hear the agent until its channel ends; send what it asks for, else now and then a sign of life."""
        rest = b""
        sent_at = time.monotonic()
        while True:
            if self._sending and not channel.recv_ready():
                piece = next(self._sending, b"")
                if not piece or not _sent(channel, piece):
                    self._sending = None
                sent_at = time.monotonic()
                continue
            if time.monotonic() - sent_at >= KEEPALIVE_S:
                _sent(channel, ALIVE)
                sent_at = time.monotonic()
            channel.settimeout(KEEPALIVE_S)
            try:
                chunk = channel.recv(RECEIVE_BYTES)
            except TimeoutError:
                continue
            if not chunk:
                return
            *lines, rest = (rest + chunk).split(b"\n")
            for line in lines:
                self._hear(line)

    def _hear(self, line: bytes) -> None:
        try:
            said = json.loads(line)
        except ValueError:
            if self._heard:
                raise
            return  # what a login shell's start-up files print
        if "program" in said:
            self._sending = iter((program.program(said["program"]),))
            return
        self._heard = True
        if "busy" in said:
            raise HostBusy(
                self._target.name,
                f"another run holds this host: {said['busy']}",
                "wait until it has ended, or end it where it runs",
            )
        if "unusable" in said:
            raise StateUnusable(
                self._target.name,
                f"the engine's own directory there can't be used: {said['unusable']}",
                "give it to the user who runs the steps, writable for nobody else, with room on its disk",
            )
        if "silent_s" in said:
            raise self._silent(said["silent_s"])
        if "end" in said:
            self._ended = True
            return
        index: int = said["index"]
        if index != self._step or said.get("status") == "started":
            self._begin(index)
        if "progress" in said:
            self._tell(index, "progress", said["progress"])
        elif "need" in said:
            self._arrived_bytes = said["need"]
            self._sending = self._content(index, said["need"], said["sha256"])
        elif said["status"] != "started":
            self._take(
                index,
                OperationResult(
                    self._operations[index].title,
                    **{name: value for name, value in said.items() if name != "index"},
                ),
            )

    def _begin(self, index: int) -> None:
        """A step has started; of one that ended at once the agent tells only its outcome."""
        self._step = index
        self._at = (
            f"step {index + 1} of {len(self._operations)}, {self._operations[index].title}, was running"
        )
        if index not in self._results:
            self._tell(index, "started")

    def _take(self, index: int, result: OperationResult) -> None:
        """How a step ended. Raises StepFailed."""
        # what was done before the connection was lost stays told, though it is nothing to do any more
        if index not in self._results or result.status in ("changed", "failed"):
            self._results[index] = result
            self._tell(index, result.status, result.why, result)
        if result.status == "failed":
            self._ended = True
            raise StepFailed(self._target.name, f"{index + 1} of {len(self._operations)}", result)

    def _content(self, index: int, offset: int, sha256: str) -> Iterator[bytes]:
        """What the agent is sent of a source. Raises StepFailed: with the channel the agent ends too."""
        upload = self._operations[index]
        assert isinstance(upload, Upload)  # noqa: S101 - for the type checker: nothing else needs content
        try:
            yield from self._ways.sources.of(upload).answer(offset, sha256)
        except SourceFault as fault:
            self._take(index, OperationResult(upload.title, "failed", str(fault)))

    def _silent(self, silence_s: float) -> ConnectionLost:
        return ConnectionLost(
            self._target.name,
            f"its agent heard nothing from this machine for {silence_s:g} s, and ended when {self._at}: "
            "this machine was suspended or this program stopped, or the network between was gone",
            "run again: it goes on where it stopped",
        )

    def _tell(
        self, index: int, status: EventStatus, detail: str = "", result: OperationResult | None = None
    ) -> None:
        title, total = self._operations[index].title if index >= 0 else "", len(self._operations)
        self._on_event(Event(self._target.name, index + 1, total, title, status, detail, result))

    def _broken(self, connection: Connection, channel: paramiko.Channel) -> EngineError:
        """Why the agent ended without its last word."""
        stderr = self._target.masked(_rest_of_stderr(channel))
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
                return sudo_refused(self._target, stderr.strip())
        if code == -1 and connection.is_lost():
            return connection.lost(self._at)
        if code == GONE:
            return connection.lost(self._at, "the host ended the agent; does it shut down?")
        return EngineError(
            name,
            f"the agent {f'ended with exit code {code}' if code != -1 else 'was killed'} when {self._at}"
            + "".join(f"\n      {line}" for line in stderr.strip().splitlines()),
            "see whether the host ran out of memory (`dmesg`); if not, report this as a fault of the engine",
        )


def _sent(channel: paramiko.Channel, data: bytes) -> bool:
    """Send all of it; False when the other side has ended, which is known from what it said last."""
    channel.settimeout(None)
    try:
        channel.sendall(data)
    except (OSError, EOFError, paramiko.SSHException):
        return False
    return True


def _rest_of_stderr(channel: paramiko.Channel) -> str:
    said = b""
    while len(said) < STDERR_BYTES and (chunk := channel.recv_stderr(STDERR_BYTES)):
        said += chunk
    return said.decode("utf-8", "replace")


def _refuse_bad_plays(hosts: Mapping[Target, Sequence[Operation]]) -> None:
    """Raise BadPlay with everything that is wrong in what was written, over all hosts."""
    names = [target.name for target in hosts]
    twice = sorted({name for name in names if names.count(name) > 1})
    plays = {id(operations): operations for operations in hosts.values()}  # many hosts share one
    of_play = {number: (*problems_of(play), *problems_of_sources(play)) for number, play in plays.items()}
    problems = [
        *(Problem(name, "is the name of two hosts", "Give each its own.") for name in twice),
        *over_hosts(
            (host.name, problem) for host, operations in hosts.items() for problem in of_play[id(operations)]
        ),
    ]
    if problems:
        who = names[0] if len(names) == 1 else f"{len(names)} hosts"
        told = [line.replace("\n", "\n      ") for line in map(str, problems)]
        raise BadPlay(who, "\n      ".join(["the desired state can't be used:", *told]), "correct it")
