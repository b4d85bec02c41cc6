"""Ending a boot, and knowing the next one."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

from ansible_like.agent.values import EndBoot, Plan, nothing
from ansible_like.operations import Reboot

REQUIRED = "/run/reboot-required"
"""Where Debian's packages say that they need one."""


class BootFacts(NamedTuple):
    boot: str
    """The kernel's id of this boot."""
    required: bool


def read(_: Reboot) -> BootFacts:
    return BootFacts(Path("/proc/sys/kernel/random/boot_id").read_text().strip(), os.path.exists(REQUIRED))


def plan(op: Reboot, facts: BootFacts, changed: bool, booted_from: str) -> Plan:
    """``changed``: one of the operations in ``when_changed`` changed, and no boot came since.

    ``booted_from``: the boot that this step ended in the run before, if it came to that.
    """
    if booted_from not in ("", facts.boot):
        return Plan(why="booted anew", diff=f"- boot {booted_from}\n+ boot {facts.boot}", happened=True)
    if not (changed or facts.required or booted_from):
        also = f", and unchanged: {', '.join(op.when_changed)}" if op.when_changed else ""
        return nothing(f"no {REQUIRED}{also}")
    why = "what needs it changed" if changed else f"{REQUIRED} is there"
    return Plan((EndBoot(op.deadline_s),), why, f"- boot {facts.boot}", ends_boot=facts.boot)
