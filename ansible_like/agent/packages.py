"""Debian packages, through apt-get."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import NamedTuple

from ansible_like.agent import host
from ansible_like.agent.values import Action, Plan, Refused, Run, nothing
from ansible_like.operations import Package

LISTS = "/var/lib/apt/lists"
LISTS_GROW_OLD_S = 86400
INSTALL_S = 1800  # beside the wait for the lock: a mirror at 1 MB/s brings the largest of our sets in it
QUIET = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "NEEDRESTART_MODE": "l"}


class PackageFacts(NamedTuple):
    has_apt: bool
    installed: Mapping[str, str]
    """Name → version, of those asked for."""
    interrupted: bool
    """A dpkg that was killed has left its work half done."""
    lists_age_s: float | None
    """None: the package lists were never fetched. From the future they are as old: a clock was wrong."""


def read(op: Package) -> PackageFacts:
    names = [name.partition("=")[0] for name in op.names]
    query = host.read(
        ("dpkg-query", "--show", "--showformat=${Package}\\t${db:Status-Status}\\t${Version}\\n", *names)
    )
    rows = [line.split("\t") for line in query.stdout.splitlines()]
    has_lists = os.path.isdir(LISTS) and any("_Packages" in name for name in os.listdir(LISTS))
    updates = "/var/lib/dpkg/updates"
    return PackageFacts(
        has_apt=query.exit_code != 127,
        installed={name: version for name, status, version in rows if status == "installed"},
        interrupted=os.path.isdir(updates) and any(name.isdigit() for name in os.listdir(updates)),
        lists_age_s=abs(time.time() - os.stat(LISTS).st_mtime) if has_lists else None,
    )


def plan(op: Package, facts: PackageFacts) -> Plan:
    if not facts.has_apt:
        raise Refused("this host has no dpkg: Package knows Debian and Ubuntu only")
    missing = [name for name in op.names if not _is_installed(name, facts)]
    if not missing:
        return nothing(
            "installed: " + ", ".join(f"{name} {facts.installed[_plain(name)]}" for name in op.names)
        )
    apt = ("apt-get", "-o", f"DPkg::Lock::Timeout={op.lock_timeout_s}")
    actions: list[Action] = []
    if facts.interrupted:
        actions.append(_run(op, ("dpkg", "--force-confdef", "--force-confold", "--configure", "--pending")))
    if facts.lists_age_s is None or facts.lists_age_s > LISTS_GROW_OLD_S:
        actions.append(_run(op, (*apt, "update", "--quiet")))
    keep = ("-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold")
    actions.append(
        _run(op, (*apt, *keep, "install", "--yes", "--quiet", "--no-install-recommends", *missing))
    )
    return Plan(tuple(actions), "missing: " + ", ".join(missing), "\n".join(f"+ {name}" for name in missing))


def _run(op: Package, argv: tuple[str, ...]) -> Run:
    return Run(
        argv,
        deadline_s=op.lock_timeout_s + INSTALL_S,
        environment=QUIET,
        lock_timeout_s=op.lock_timeout_s,
    )


def _is_installed(name: str, facts: PackageFacts) -> bool:
    version = name.partition("=")[2]
    return _plain(name) in facts.installed and version in ("", facts.installed[_plain(name)])


def _plain(name: str) -> str:
    """The package's name without version and architecture."""
    return name.partition("=")[0].partition(":")[0]
