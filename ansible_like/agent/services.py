"""systemd units."""

from __future__ import annotations

from typing import NamedTuple

from ansible_like.agent import host
from ansible_like.agent.values import Action, AwaitUnit, Plan, Refused, Run, nothing
from ansible_like.operations import Service

NOT_TO_ENABLE = ("static", "indirect", "alias", "generated", "transient")


class UnitFacts(NamedTuple):
    load: str
    """systemd's LoadState, such as loaded or not-found; empty where there is no systemd to ask."""
    active: str
    enabled: str
    """systemd's UnitFileState."""
    needs_reload: bool
    """The unit's files are newer than what systemd has read."""
    ends: bool = False
    """A oneshot that is inactive again when its work is done: nothing to wait for after its start."""


def read(op: Service) -> UnitFacts:
    properties = "LoadState,ActiveState,UnitFileState,NeedDaemonReload,Type,RemainAfterExit"
    shown = host.read(("systemctl", "show", f"--property={properties}", op.unit))
    values = dict(line.split("=", 1) for line in shown.stdout.splitlines() if "=" in line)
    return UnitFacts(
        load=values.get("LoadState", ""),
        active=values.get("ActiveState", ""),
        enabled=values.get("UnitFileState", ""),
        needs_reload=values.get("NeedDaemonReload") == "yes",
        ends=values.get("Type") == "oneshot" and values.get("RemainAfterExit") == "no",
    )


def plan(op: Service, facts: UnitFacts, changed: bool) -> Plan:
    """``changed``: one of the operations in ``restart_when_changed`` changed since this unit was last led."""
    if not facts.load:
        raise Refused("systemd does not answer (`systemctl show`): Service needs it as PID 1")
    if facts.load == "not-found" and (op.running or op.enabled):
        raise Refused(
            f"systemd has no unit {op.unit}: write its file or install its package before this step"
        )
    if facts.load == "masked" and (op.running or op.enabled):
        raise Refused(f"{op.unit} is masked: `systemctl unmask {op.unit}` if it shall run")
    actions: list[Action] = []
    diffs: list[str] = []
    _plan_enabled(op, facts, actions, diffs)
    _plan_running(op, facts, changed, actions, diffs)
    if facts.needs_reload and facts.load != "not-found":
        actions.insert(0, Run(("systemctl", "daemon-reload")))
        diffs.insert(0, "± systemd's own copy of the unit is older than its file")
    if not actions:
        return nothing(f"{facts.active}, {facts.enabled or 'no unit file'}")
    return Plan(tuple(actions), "restart: what it uses changed" if changed else "state", "\n".join(diffs))


def _plan_enabled(op: Service, facts: UnitFacts, actions: list[Action], diffs: list[str]) -> None:
    is_enabled = facts.enabled in ("enabled", *NOT_TO_ENABLE)
    if op.enabled and not is_enabled:
        actions.append(Run(("systemctl", "enable", op.unit)))
        diffs.append(f"- {facts.enabled or 'disabled'}\n+ enabled")
    elif op.enabled is False and facts.enabled in ("enabled", "enabled-runtime"):
        actions.append(Run(("systemctl", "disable", op.unit)))
        diffs.append(f"- {facts.enabled}\n+ disabled")


def _plan_running(
    op: Service, facts: UnitFacts, changed: bool, actions: list[Action], diffs: list[str]
) -> None:
    is_running = facts.active in ("active", "reloading")
    if op.running and (changed or not is_running):
        verb = "restart" if changed or facts.active == "activating" else "start"
        if facts.active == "failed":
            # a unit that hit its start limit refuses to start before this
            actions.append(Run(("systemctl", "reset-failed", op.unit)))
        actions += _start(op, facts, verb)
        diffs.append(f"- {facts.active}\n+ active" if not is_running else f"± restart {op.unit}")
    elif op.running is None and changed and is_running:
        actions += _start(op, facts, "restart")
        diffs.append(f"± restart {op.unit}")
    elif op.running is False and facts.active not in ("inactive", "failed"):
        actions.append(Run(("systemctl", "stop", op.unit), deadline_s=op.deadline_s, unit=op.unit))
        diffs.append(f"- {facts.active}\n+ inactive")


def _start(op: Service, facts: UnitFacts, verb: str) -> list[Action]:
    start = Run(("systemctl", verb, op.unit), deadline_s=op.deadline_s, unit=op.unit)
    return [start] if facts.ends else [start, AwaitUnit(op.unit, op.deadline_s)]
