"""Commands with their guards, and waiting."""

from __future__ import annotations

import os
from typing import NamedTuple

from ansible_like.agent import host
from ansible_like.agent.processes import program_and_arguments
from ansible_like.agent.values import Action, AwaitPath, AwaitPort, AwaitUnit, Plan, Refused, Run, nothing
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


def read_command(op: Command) -> CommandFacts:
    created = op.creates is not None and os.path.lexists(op.creates)
    if created or op.unless is None:
        return CommandFacts(created, satisfied=False)
    guard = host.read(program_and_arguments(op.unless))
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
    )
    return Plan((run,), "ran", f"+ {op.title[len('command ') :]}")


def read_wait(op: WaitFor) -> WaitFacts:
    return WaitFacts(
        port_listens=op.port is not None and host.port_listens(op.address, op.port),
        path_exists=op.path is not None and os.path.lexists(op.path),
        unit=host.unit_state(op.unit) if op.unit else "",
    )


def plan_wait(op: WaitFor, facts: WaitFacts) -> Plan:
    actions: list[Action] = []
    if op.port is not None and not facts.port_listens:
        actions.append(AwaitPort(op.address, op.port, op.deadline_s))
    if op.path is not None and not facts.path_exists:
        actions.append(AwaitPath(op.path, op.deadline_s))
    if op.unit is not None and facts.unit != "active":
        actions.append(AwaitUnit(op.unit, op.deadline_s))
    if not actions:
        return nothing("already there")
    return Plan(tuple(actions), "not there at first", changes=False)
