"""Kernel settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from ansible_like.agent import files, host
from ansible_like.agent.values import Action, Plan, Refused, SetKernel
from ansible_like.operations import File, Sysctl


class KeyFacts(NamedTuple):
    value: str | None
    """None: this kernel has no such key."""
    writable: bool


class SysctlFacts(NamedTuple):
    file: files.PathFacts
    keys: Mapping[str, KeyFacts]


def read(op: Sysctl) -> SysctlFacts:
    return SysctlFacts(files.read_path(op.path, content=True), {key: _read_key(key) for key in op.settings})


def plan(op: Sysctl, facts: SysctlFacts) -> Plan:
    content = "".join(f"{key} = {value}\n" for key, value in sorted(op.settings.items()))
    persist = files.plan_file(File(op.path, content), facts.file)
    actions: list[Action] = list(persist.actions)
    diffs = [persist.diff] if persist.diff else []
    refused: dict[str, str] = {}
    for key, value in sorted(op.settings.items()):
        live = facts.keys[key]
        if live.value is not None and live.value.split() == value.split():
            continue
        if live.value is None or not live.writable:
            refused[key] = "the kernel has no such key" if live.value is None else "it can't be written here"
            continue
        actions.append(SetKernel(key, value, op.tolerate_missing))
        diffs.append(f"- {key} = {live.value}\n+ {key} = {value}")
    left_out = "; ".join(f"{key}: {why}" for key, why in refused.items())
    if refused and not op.tolerate_missing:
        raise Refused(f"{left_out}. Leave the key out, or set tolerate_missing where a container is fine")
    why = left_out or ("settings" if actions else "file and kernel are as wanted")
    return Plan(tuple(actions), why, "\n".join(diffs), skipped=bool(refused))


def _read_key(key: str) -> KeyFacts:
    path = host.kernel_path(key)
    try:
        value = " ".join(path.read_text().split())
    except OSError:
        return KeyFacts(None, writable=False)
    return KeyFacts(value, os.access(path, os.W_OK))
