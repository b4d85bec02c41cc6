"""Control groups of nodes, where no systemd of the machine gives them one (nspawn asks it for a scope)."""

import os
from pathlib import Path

ROOT = Path("/sys/fs/cgroup")
ENTER = 'for group in $1; do mkdir -p "$group" && echo $$ > "$group/cgroup.procs" || exit 1; done'
"""Shell: put this process into each group of the list in its first argument."""


def hierarchies() -> tuple[Path, ...]:
    """Every tree in which systemd keeps its units: with control groups of both versions, that is two.

    A node needs a group in each. Where it has none, nspawn takes the root, and all such nodes' systemds share
    one tree: a unit that ends in one node takes the group away in which another node starts the same unit.
    """
    mounted = tuple(path for path in (ROOT / "systemd", ROOT / "unified") if path.is_mount())
    return mounted or (ROOT,)


def groups(name: str) -> tuple[Path, ...]:
    """The groups of this name, one in each hierarchy, whether they are there or not."""
    return tuple(hierarchy / name for hierarchy in hierarchies())


def remove(name: str) -> None:
    """Remove the groups of a node that has ended."""
    for group in groups(name):
        for path, _, _ in os.walk(group, topdown=False):
            Path(path).rmdir()
