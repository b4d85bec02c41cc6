"""What is on this machine and in the local cloud, as sets of lines: two snapshots tell what a run left."""

import os
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import httpx

from rehearsal import paths

Snapshot = Mapping[str, frozenset[str]]
"""Kind of thing → one line for each that exists."""

OURS = re.compile(rf"{re.escape(str(paths.STATE))}|rehearsal\.cloud|systemd-nspawn")
"""What the command line or the environment of a rehearsal's process says, and of no other's."""

OUR_FILES = re.compile("pulumi|moto|drydock|vllm")
"""A word of this stands in the name of each temporary file of a rehearsal."""


def left_over(before: Snapshot, after: Snapshot) -> dict[str, list[str]]:
    """What is in `after` and was not in `before`, by kind; kinds with nothing left are absent."""
    return {
        kind: sorted(left) for kind in sorted(after) if (left := after[kind] - before.get(kind, frozenset()))
    }


def report(left: Mapping[str, list[str]]) -> str:
    """The left-overs as text, a kind a paragraph."""
    return "\n".join(f"{kind}:\n" + "\n".join(f"  {line}" for line in lines) for kind, lines in left.items())


def machine() -> Snapshot:
    """Everything of this machine that a rehearsal touches: processes, mounts, links, addresses, routes,
    nftables rules, loop devices, kernel settings, temporary files and the rehearsal's own folder."""
    return {
        "process": frozenset(_processes()),
        "mount": frozenset(line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()),
        "link": frozenset(_field(line, 1) for line in _lines("ip", "-o", "link")),
        "address": frozenset(_field(line, 3) for line in _lines("ip", "-o", "addr")),
        "route": frozenset(_lines("ip", "route")),
        "nft rule": frozenset(_lines("nft", "list", "ruleset")),
        "loop device": frozenset(_lines("losetup", "--list", "--noheadings", "--output", "NAME,BACK-FILE")),
        "kernel setting": frozenset(
            f"{name}={Path(name).read_text().strip()}"
            for name in ("/proc/sys/net/ipv4/ip_forward", "/proc/sys/net/bridge/bridge-nf-call-iptables")
            if Path(name).exists()
        ),
        "temporary file": frozenset(str(p) for p in Path("/tmp").iterdir() if OUR_FILES.search(p.name)),  # noqa: S108
        "state": frozenset(str(path) for path in paths.STATE.rglob("*"))
        if paths.STATE.exists()
        else frozenset(),
    }


def cloud(endpoint: str) -> Snapshot:
    """Every resource of every kind that exists in the local cloud now, a terminated instance not counted."""
    inventory = httpx.get(f"{endpoint}/_drydock/inventory", timeout=30).raise_for_status().json()
    return {kind: frozenset(names) for kind, names in inventory.items()}


def _processes() -> list[str]:
    found = []
    for folder in Path("/proc").iterdir():
        if not folder.name.isdigit() or int(folder.name) == os.getpid():
            continue
        try:
            command, environment = (_text(folder / name) for name in ("cmdline", "environ"))
        except OSError:  # it ended between the listing and the look
            continue
        if OURS.search(command) or OURS.search(environment):
            found.append(f"{folder.name} {command[:200]}")
    return found


def _text(path: Path) -> str:
    return path.read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()


def _lines(*argv: str) -> list[str]:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    # A route or an address without its counters: only what exists counts.
    return [" ".join(line.split()) for line in done.stdout.splitlines() if line.strip()]


def _field(line: str, index: int) -> str:
    return line.split()[index].rstrip(":").split("@")[0]
