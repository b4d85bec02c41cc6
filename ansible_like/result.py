# ruff: noqa: N818 - they are named for what happened; EngineError says that they are errors
"""What came of it: events while it runs, one outcome per host, and every way in which it can fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

EventStatus = Literal["started", "progress", "ok", "changed", "skipped", "failed"]
Status = Literal["ok", "changed", "skipped", "failed"]


@dataclass(frozen=True)
class OperationResult:
    """How one operation ended on one host. Secrets are masked in every text."""

    title: str
    status: Status
    why: str
    """Why nothing was to do, what was different, or what failed."""
    diff: str = ""
    """What changes in files, where that was asked for."""
    stdout_tail: str = ""
    """The end of a command's output; when it failed, its last lines of stderr (or stdout)."""
    exit_code: int | None = None
    """Of the last command; None where none ran, or it was killed at its deadline."""
    duration_s: float = 0.0


@dataclass(frozen=True)
class Event:
    """Something happened in step ``index`` (from 1) of ``total`` on ``host``."""

    host: str
    index: int
    total: int
    title: str
    status: EventStatus
    detail: str = ""
    """A progress line, or why the step is ok, changed, skipped or failed."""
    result: OperationResult | None = None
    """How the step ended; None until then."""


class EngineError(Exception):
    """Work on a host that failed: what happened there, and the way out."""

    def __init__(self, host: str, what: str, remedy: str) -> None:
        self.host, self.what, self.remedy = host, what, remedy
        super().__init__(f"{host}: {what}\n    → {remedy}")


class BadPlay(EngineError):
    """The desired state can't be used as it is written; nothing was sent."""


class BadPrivateKey(EngineError):
    """The target's private key can't be read."""


class HostKeyMismatch(EngineError):
    """Another host answers than the one that was expected; nothing was sent to it."""


class Unreachable(EngineError):
    """SSH did not answer within the deadline."""


class AuthenticationRefused(EngineError):
    """SSH answered but did not take the key within the deadline."""


class ConnectionLost(EngineError):
    """The connection ended in the middle."""


class PythonMissing(EngineError):
    """The host has no python3, or one that is too old."""


class SudoRefused(EngineError):
    """The user may not become root: without a password, or with the one that was given."""


class Interrupted(EngineError):
    """The caller ended the run, with Ctrl-C for one, before this host had come to its end."""


class HostBusy(EngineError):
    """Another run holds the host."""


class StateUnusable(EngineError):
    """The directory on the host that holds the lock and the journal can't be written, or not be trusted."""


class CommandFailed(EngineError):
    """A command ended with an exit code that isn't allowed, or (exit_code None) not by its deadline."""

    def __init__(self, host: str, command: str, exit_code: int | None, last_lines: str, ending: str) -> None:
        self.command, self.exit_code, self.last_lines = command, exit_code, last_lines
        super().__init__(
            host, f"`{command}` {ending}{_indented(last_lines)}", "run it there by hand to see more of it"
        )


class StepFailed(EngineError):
    """An operation failed; the operations after it were not tried."""

    def __init__(self, host: str, place: str, result: OperationResult) -> None:
        self.result = result
        ending = f" (exit code {result.exit_code})" if result.exit_code is not None else ""
        super().__init__(
            host,
            f"step {place}, {result.title}, failed: {result.why}{ending}{_indented(result.stdout_tail)}",
            "mend the cause and run again: what is done already is left as it is",
        )


@dataclass(frozen=True)
class HostResult:
    """The outcome on one host: the operations that were tried, and the error that ended them, if any."""

    host: str
    operations: tuple[OperationResult, ...]
    error: EngineError | None = None

    @property
    def ok(self) -> bool:
        return self.error is None

    @property
    def failed(self) -> bool:
        return self.error is not None

    @property
    def changed(self) -> bool:
        return any(operation.status == "changed" for operation in self.operations)


def _indented(lines: str) -> str:
    return "".join(f"\n      {line}" for line in lines.splitlines())
