"""Lead through the operations: facts, plan, actions (unless only checking), and an event for each step."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import stat
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from ansible_like import operations
from ansible_like.agent import controller, host, journal
from ansible_like.agent.values import (
    GONE,
    MASK,
    TAIL_CHARACTERS,
    ActionFailed,
    Completed,
    ControllerGone,
    ControllerSilent,
    Plan,
    Refused,
    Tolerated,
    json_line,
    nothing,
)
from ansible_like.operations import Operation, names_of, references_of

SHORTEST_SECRET = 6


class Handler(NamedTuple):
    read: Callable[[Any], Any]
    plan: Callable[..., Plan]


HANDLERS: dict[type[Any], tuple[str, str, str]] = {
    operations.File: ("files", "read_file", "plan_file"),
    operations.Upload: ("uploads", "read", "plan"),
    operations.Download: ("downloads", "read", "plan"),
    operations.Directory: ("files", "read_any", "plan_directory"),
    operations.Absent: ("files", "read_any", "plan_absent"),
    operations.Link: ("files", "read_any", "plan_link"),
    operations.Package: ("packages", "read", "plan"),
    operations.Repository: ("repositories", "read", "plan"),
    operations.Group: ("users", "read_group", "plan_group"),
    operations.User: ("users", "read_user", "plan_user"),
    operations.Sysctl: ("kernel", "read", "plan"),
    operations.LineInFile: ("lines", "read_line", "plan_line"),
    operations.AuthorizedKey: ("lines", "read_key", "plan_key"),
    operations.KernelModule: ("kernel", "read_module", "plan_module"),
    operations.Limits: ("kernel", "read_limits", "plan_limits"),
    operations.Service: ("services", "read", "plan"),
    operations.Mount: ("storage", "read_mount", "plan_mount"),
    operations.InstanceStore: ("storage", "read_store", "plan_store"),
    operations.Command: ("commands", "read_command", "plan_command"),
    operations.WaitFor: ("commands", "read_wait", "plan_wait"),
    operations.Reboot: ("boot", "read", "plan"),
}
"""By names: a run loads the modules of its own steps, and no others."""


def handler_of(kind: type[Any]) -> Handler:
    """How a kind of operation is read and planned."""
    module, read, plan = HANDLERS[kind]
    loaded = __import__(f"ansible_like.agent.{module}", None, None, [read])
    return Handler(getattr(loaded, read), getattr(loaded, plan))


def main(desired: Mapping[str, Any]) -> None:
    """Converge to the desired state that came over the channel, and say how it went."""
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, _stop)
    os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/local/sbin:/usr/sbin:/sbin"
    os.umask(0o022)
    steps = [operations.decode(wire) for wire in desired["operations"]]
    controller.expect(desired["silence_s"])
    channel = Channel(_secrets_of(steps, desired["secrets"]))
    state, who, purpose = desired["state_directory"], desired["who"], desired["purpose"]

    def lead() -> None:
        kept = journal.Journal(state, desired["operations"], desired["run"], who, purpose)
        Convergence(steps, kept, channel, check=desired["check"], diff=desired["diff"]).lead()

    try:
        if desired["check"]:
            lead()
            return
        with _locked(state, f"{who}, for {purpose}", desired["lock_wait_s"], channel) as mine:
            if mine:
                lead()
    except ControllerSilent as silent:
        if controller.has_room():
            with contextlib.suppress(ControllerGone):
                channel.say(silent_s=silent.silence_s)
        raise SystemExit(GONE) from None
    except ControllerGone:
        raise SystemExit(GONE) from None


class Channel:
    """The way back: one JSON object a line, secrets masked."""

    def __init__(self, secrets: list[str]) -> None:
        self._secrets = secrets
        self._last = b""

    def say(self, **event: Any) -> None:
        if self._secrets:
            event = {
                name: self.mask(value) if isinstance(value, str) else value for name, value in event.items()
            }
        if "duration_s" in event:  # of a step that ended at once, this says that it started, too
            controller.take_back(self._last)
        self._last = json_line(event)
        controller.tell(self._last)
        if "status" not in event:
            controller.flush()

    def mask(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return text


class Convergence:
    """One run over all operations of this host; the first failure ends it."""

    def __init__(
        self, steps: list[Operation], journal: journal.Journal, channel: Channel, *, check: bool, diff: bool
    ) -> None:
        self._steps, self._journal, self._channel = steps, journal, channel
        self._check, self._diff = check, diff
        self._changed: set[str] = set()
        self._handlers: dict[type[Any], Handler] = {}
        found = ((number, step, references_of(step)) for number, step in enumerate(steps))
        self._referring = [each for each in found if each[2]]

    def lead(self) -> None:
        for index, step in enumerate(self._steps):
            self._channel.say(index=index, status="started")
            began = time.monotonic()
            try:
                outcome = self._step(index, step)
            except Refused as refusal:
                outcome = self._refused(refusal)
            except ActionFailed as failure:
                outcome = {
                    "status": "failed",
                    "why": failure.deed,
                    "exit_code": failure.exit_code,
                    "stdout_tail": failure.last_lines,
                }
            except OSError as error:
                outcome = {
                    "status": "failed",
                    "why": f"a file of this host can't be read or written: {error}",
                }
            self._tell_history(step, outcome)
            self._channel.say(index=index, duration_s=round(time.monotonic() - began, 4), **outcome)
            if outcome["status"] == "failed":
                break
        else:
            if not self._check and not self._end():
                return
        self._channel.say(end=True)

    def _end(self) -> bool:
        """Close the journal; False when that can't be, which the controller is told."""
        try:
            self._journal.end()
        except OSError as error:
            self._channel.say(unusable=str(error))
            return False
        return True

    def _step(self, index: int, step: Operation) -> dict[str, Any]:
        plan = self._plan(index, step)
        outcome = {"status": _status(plan, self._check), "why": plan.why}
        diff = plan.diff
        if plan.actions and not self._check:
            if plan.changes:
                self._journal.forget_done_after(index)
                self._journal.add_due(self._dependants(index, step))
            if plan.ends_boot:
                self._journal.add_reboot(index, plan.ends_boot)
            outcome.update(self._perform(index, plan))
        if plan.again and not self._check:
            rest = self._plan(index, step)
            outcome.update(self._perform(index, rest))
            diff += f"\n{rest.diff}"
        if self._diff:
            outcome["diff"] = diff
        if outcome["status"] == "changed":
            self._changed.update(names_of(step))
            if _leaves_no_trace(step) and not self._check:
                self._journal.add_done(index)
        if not self._check:
            self._journal.acted(step.title)
        return outcome

    def _plan(self, index: int, step: Operation) -> Plan:
        kind = type(step)
        handler = self._handlers.get(kind) or self._handlers.setdefault(kind, handler_of(kind))
        facts = handler.read(step)
        if not isinstance(step, (operations.Service, operations.Command, operations.Reboot)):
            return handler.plan(step, facts)
        changed = bool(self._changed.intersection(references_of(step))) or self._journal.is_due(step.title)
        if isinstance(step, operations.Reboot):
            return handler.plan(step, facts, changed, self._journal.booted_from(index))
        done_at = self._journal.done_at(index) if _leaves_no_trace(step) else ""
        return nothing(f"done at {done_at}") if done_at else handler.plan(step, facts, changed)

    def _tell_history(self, step: Operation, outcome: Mapping[str, Any]) -> None:
        if not self._check and outcome["status"] in ("changed", "failed"):
            why = (
                f"{outcome['why']}\n{outcome.get('stdout_tail', '') if outcome['status'] == 'failed' else ''}"
            )
            with contextlib.suppress(OSError):  # a full disk, say: what failed is told to the controller
                self._journal.tell(step.title, outcome["status"], self._channel.mask(why.strip()))

    def _perform(self, index: int, plan: Plan) -> dict[str, Any]:
        """Do what is planned; gives what the plan alone could not know of the outcome."""
        last: Completed | None = None
        left_out: list[str] = []
        for action in plan.actions:
            try:
                done = host.perform(action, lambda **event: self._channel.say(index=index, **event))
            except Tolerated as refusal:
                left_out.append(str(refusal))
            else:
                last = done or last
        outcome: dict[str, Any] = {}
        if last:
            outcome = {"stdout_tail": last.stdout[-TAIL_CHARACTERS:], "exit_code": last.exit_code}
        if left_out:
            outcome["why"] = "; ".join(left_out)
        if left_out and len(left_out) == len(plan.actions):
            outcome["status"] = "skipped"
        return outcome

    def _refused(self, refusal: Refused) -> dict[str, Any]:
        if self._check and self._changed:
            # what an earlier step would have brought isn't there, so this one's facts say nothing yet
            return {"status": "skipped", "why": f"known only when the steps before are done ({refusal})"}
        return {"status": "failed", "why": str(refusal)}

    def _dependants(self, index: int, step: Operation) -> set[str]:
        names = set(names_of(step))
        return {
            later.title
            for number, later, references in self._referring
            if number > index and names.intersection(references)
        }


def _leaves_no_trace(step: Operation) -> bool:
    """Whether nothing on the host tells that the step is done: only the journal knows."""
    return isinstance(step, operations.Command) and not (step.creates or step.unless or step.when_changed)


def _status(plan: Plan, check: bool) -> str:
    if plan.happened or (plan.actions and plan.changes):
        return "changed"
    if plan.skipped or (plan.actions and check):
        return "skipped"
    return "ok"


@contextlib.contextmanager
def _locked(state: str, holder: str, wait_s: float, channel: Channel) -> Iterator[bool]:
    """Hold the host against a second run; False when that can't be, which the controller is told."""
    try:
        os.makedirs(state, 0o700, exist_ok=True)
        status = os.lstat(state)
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
            raise PermissionError(
                f"{state} must be a directory that belongs to us and that nobody else can write"
            )
        lock = open(f"{state}/lock", "a+")  # noqa: SIM115 - closed by the block below
    except OSError as error:
        channel.say(unusable=str(error))
        yield False
        return
    with lock:
        until = time.monotonic() + wait_s
        while not _lock(lock.fileno()):
            if time.monotonic() >= until:
                lock.seek(0)
                channel.say(busy=lock.read().strip())
                yield False
                return
            controller.pause(0.2)
        lock.truncate(0)
        try:
            # past the file's own buffer, which would be written once more when it is closed
            os.write(lock.fileno(), f"{holder}, since {time.strftime(journal.TIME_FORM)}".encode())
        except OSError as error:
            channel.say(unusable=f"{state}/lock: {error}")
            yield False
            return
        try:
            yield True
        finally:
            # the warden has the lock too, and may end a moment after us
            fcntl.flock(lock.fileno(), fcntl.LOCK_UN)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _secrets_of(steps: list[Operation], more: list[str]) -> list[str]:
    """Every text that must not come back: whole secrets, their lines, and what stands behind a ``=``."""
    texts = [*more, *(text for step in steps for text in operations.secrets_of(step))]
    by_line = [line.strip() for text in texts for line in text.splitlines()]
    values = [line.split("=", 1)[1].strip("\"' ") for line in by_line if "=" in line]
    long_enough = {text for text in (*texts, *by_line, *values) if len(text) >= SHORTEST_SECRET}
    return sorted(long_enough, key=len, reverse=True)


def _stop(*_: object) -> None:
    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    raise ControllerGone
