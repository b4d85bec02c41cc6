"""Commands with their guards, and waiting."""

from __future__ import annotations

import os
import pwd
from typing import NamedTuple

from ansible_like.agent import host
from ansible_like.agent.processes import program_and_arguments
from ansible_like.agent.values import (
    Action,
    AwaitPath,
    AwaitPort,
    AwaitUnit,
    AwaitUrl,
    Plan,
    Refused,
    Run,
    nothing,
)
from ansible_like.operations import Command, WaitFor


class CommandFacts(NamedTuple):
    created: bool
    """What ``creates`` names is there."""
    satisfied: bool
    """``unless`` exited 0."""


class WaitFacts(NamedTuple):
    port_listens: bool
    path_exists: bool
    unit: str
    """systemd's ActiveState."""
    url_answers: bool = False


def read_command(op: Command) -> CommandFacts:
    _refuse_user(op.user)
    created = op.creates is not None and os.path.lexists(op.creates)
    if created or op.unless is None:
        return CommandFacts(created, satisfied=False)
    guard = host.read(program_and_arguments(op.unless), op.directory, op.user)
    if guard.exit_code is None:
        raise Refused(f"the guard {op.unless!r} did not end within 60 s")
    return CommandFacts(created, satisfied=guard.exit_code == 0)


def plan_command(op: Command, facts: CommandFacts, changed: bool) -> Plan:
    """``changed``: one of the operations in ``when_changed`` changed since this command last ran."""
    if facts.created:
        return nothing(f"{op.creates} exists")
    if facts.satisfied:
        return nothing("its guard says that it is done")
    if op.when_changed and not changed:
        return nothing(f"unchanged: {', '.join(op.when_changed)}")
    argv = program_and_arguments(op.argv)
    run = Run(
        argv,
        ok_codes=op.ok_codes,
        deadline_s=op.deadline_s,
        environment=op.environment,
        stdin=op.secret_stdin,
        progress=op.progress,
        retries=op.retries,
        retry_delay_s=op.retry_delay_s,
        directory=op.directory,
        user=op.user,
    )
    return Plan((run,), "ran", f"+ {op.title[len('command ') :]}")


def _refuse_user(user: str | None) -> None:
    if user is None:
        return
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise Refused(f"no user {user!r} on this host: make it with User before this step") from None
    if os.geteuid() not in (0, entry.pw_uid):
        raise Refused(f"only root may run a command as {user}: connect as root or with sudo")


def read_wait(op: WaitFor) -> WaitFacts:
    return WaitFacts(
        port_listens=op.port is not None and not host.port_fault(op.address, op.port),
        path_exists=op.path is not None and os.path.lexists(op.path),
        unit=host.unit_state(op.unit) if op.unit else "",
        url_answers=op.url is not None and not host.url_fault(op.url, op.status),
    )


def plan_wait(op: WaitFor, facts: WaitFacts) -> Plan:
    actions: list[Action] = []
    if op.port is not None and not facts.port_listens:
        actions.append(AwaitPort(op.address, op.port, op.deadline_s))
    if op.path is not None and not facts.path_exists:
        actions.append(AwaitPath(op.path, op.deadline_s))
    if op.unit is not None and facts.unit != "active":
        actions.append(AwaitUnit(op.unit, op.deadline_s))
    if op.url is not None and not facts.url_answers:
        actions.append(AwaitUrl(op.url, op.status, op.deadline_s))
    if not actions:
        return nothing("already there")
    return Plan(tuple(actions), "not there at first", changes=False)
