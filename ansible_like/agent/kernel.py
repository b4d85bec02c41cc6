"""Kernel settings and modules, and the limits of logins."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from ansible_like.agent import files, host
from ansible_like.agent.values import Action, Plan, Refused, Run, SetKernel, nothing
from ansible_like.operations import File, KernelModule, Limits, Sysctl


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


class ModuleFacts(NamedTuple):
    file: files.PathFacts
    loaded: bool
    fault: str = ""
    """Why modprobe could not load it, where it isn't loaded."""


def read_module(op: KernelModule) -> ModuleFacts:
    file = files.read_path(op.path, content=True)
    if Path("/sys/module", op.name.replace("-", "_")).exists():
        return ModuleFacts(file, loaded=True)
    tried = host.read(("modprobe", "--dry-run", "--verbose", op.name))
    if tried.exit_code != 0:
        return ModuleFacts(file, loaded=False, fault=tried.last_lines or f"exit code {tried.exit_code}")
    # a module of the kernel itself need not be in /sys/module, and modprobe has nothing to do for it
    return ModuleFacts(file, loaded=not tried.stdout.replace("builtin", "").split())


def plan_module(op: KernelModule, facts: ModuleFacts) -> Plan:
    if facts.fault and op.tolerate_missing:
        # nothing at boot either: systemd-modules-load.service would fail
        return Plan(why=f"this kernel has no module {op.name} ({facts.fault})", skipped=True)
    if facts.fault:
        raise Refused(
            f"this kernel has no module {op.name} ({facts.fault}):"
            " install its package, or set tolerate_missing where a container is fine"
        )
    persist = files.plan_file(File(op.path, f"{op.name}\n"), facts.file)
    load = () if facts.loaded else (Run(("modprobe", op.name), tolerated=op.tolerate_missing),)
    diffs = [each for each in (persist.diff, "" if facts.loaded else f"+ loaded {op.name}") if each]
    if not diffs:
        return nothing("loaded, now and at boot")
    return Plan((*persist.actions, *load), "not loaded" if load else "not loaded at boot", "\n".join(diffs))


def read_limits(op: Limits) -> files.PathFacts:
    return files.read_path(op.path, content=True)


def plan_limits(op: Limits, facts: files.PathFacts) -> Plan:
    return files.plan_file(File(op.path, "".join(f"{line}\n" for line in op.lines)), facts)
