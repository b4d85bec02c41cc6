"""Users and groups."""

from __future__ import annotations

import grp
import pwd
from typing import NamedTuple

from ansible_like.agent.values import Plan, Run, nothing
from ansible_like.operations import Group, User


class UserFacts(NamedTuple):
    home: str | None
    """None: there is no such user."""
    shell: str
    groups: frozenset[str]
    has_own_group: bool
    """There is a group of the user's name."""


def read_user(op: User) -> UserFacts:
    groups = grp.getgrall()
    named = any(group.gr_name == op.name for group in groups)
    try:
        entry = pwd.getpwnam(op.name)
    except KeyError:
        return UserFacts(None, "", frozenset(), named)
    of_user = {group.gr_name for group in groups if op.name in group.gr_mem or group.gr_gid == entry.pw_gid}
    return UserFacts(entry.pw_dir, entry.pw_shell, frozenset(of_user), named)


def read_group(op: Group) -> bool:
    return any(group.gr_name == op.name for group in grp.getgrall())


def plan_user(op: User, facts: UserFacts) -> Plan:
    missing = [group for group in op.groups if group not in facts.groups]
    if facts.home is None:
        kind = ("--system", "--no-create-home") if op.system else ("--create-home",)
        own = ("--gid", op.name) if facts.has_own_group else ("--user-group",)
        more = ("--groups", ",".join(op.groups)) if op.groups else ()
        argv = ("useradd", *kind, "--home-dir", op.home, "--shell", op.shell, *own, *more, op.name)
        return Plan((Run(argv),), "new", f"+ user {op.name} {op.home} {op.shell}")
    options: list[str] = []
    differs: list[str] = []
    if facts.home != op.home:
        options += ["--home", op.home]
        differs.append(f"- home {facts.home}\n+ home {op.home}")
    if facts.shell != op.shell:
        options += ["--shell", op.shell]
        differs.append(f"- shell {facts.shell}\n+ shell {op.shell}")
    if missing:
        options += ["--append", "--groups", ",".join(missing)]
        differs.append("\n".join(f"+ in group {group}" for group in missing))
    if not options:
        return nothing("home, shell and groups are as wanted")
    return Plan((Run(("usermod", *options, op.name)),), "home, shell or groups", "\n".join(differs))


def plan_group(op: Group, facts: bool) -> Plan:
    if facts:
        return nothing("exists")
    return Plan((Run(("groupadd", "--system", op.name)),), "new", f"+ group {op.name}")
