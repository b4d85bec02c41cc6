"""Debian sources of packages: the key, the source that names it, and the lists that apt has checked."""

from __future__ import annotations

import os
from typing import NamedTuple

from ansible_like.agent import files
from ansible_like.agent.packages import LISTS, QUIET
from ansible_like.agent.values import Action, MakeDirectory, Plan, Refused, Remove, Run, nothing
from ansible_like.operations import File, Repository

FOLDERS = ("/etc/apt/keyrings", "/etc/apt/sources.list.d")
FETCH_S = 600  # beside the wait for the lock
SPECIAL = '\\|{}[]<>"^~_=!@#$%&*'


class RepositoryFacts(NamedTuple):
    has_apt: bool
    missing_folders: tuple[str, ...]
    key: files.PathFacts
    other_key: str
    """The key in its other form, under the other ending; empty: there is none."""
    source: files.PathFacts
    releases: tuple[str, ...]
    """The signed lists of its suites that are here."""
    complete: bool
    """Every suite has one."""
    updated_at_s: int
    """When all lists were last fetched, since 1970; 0: never."""


def read(op: Repository) -> RepositoryFacts:
    suites = [_releases_here(uri, suite) for uri in op.uris for suite in op.suites]
    other = op.key_path[:-3] + ("gpg" if op.key_path.endswith("asc") else "asc")
    fetched = os.path.isdir(LISTS) and any("_Packages" in name for name in os.listdir(LISTS))
    return RepositoryFacts(
        has_apt=os.path.exists("/usr/bin/apt-get"),
        missing_folders=tuple(folder for folder in FOLDERS if not os.path.isdir(folder)),
        key=files.read_path(op.key_path, content=True),
        other_key=other if os.path.lexists(other) else "",
        source=files.read_path(op.path, content=True),
        releases=tuple(path for suite in suites for path in suite),
        complete=all(suites),
        updated_at_s=int(os.stat(LISTS).st_mtime) if fetched else 0,
    )


def plan(op: Repository, facts: RepositoryFacts) -> Plan:
    if not facts.has_apt:
        raise Refused("this host has no apt-get: Repository knows Debian and Ubuntu only")
    key = files.plan_file(File(op.key_path, op.key), facts.key)
    source = files.plan_file(File(op.path, source_text(op)), facts.source)
    actions: list[Action] = []
    if key.actions or source.actions:
        # so that lists which are here were checked with this key, also when this run is killed or fails
        actions += [Remove(path) for path in facts.releases]
    actions += [MakeDirectory(folder) for folder in facts.missing_folders]
    actions += [*key.actions, *source.actions]
    diffs = [each.diff for each in (key, source) if each.actions]
    whys = [what for what, each in (("key", key), ("source", source)) if each.actions]
    if actions or not facts.complete:
        actions.append(_update(op, facts))
        diffs.append(f"+ lists of {op.name}")
    if facts.other_key:
        actions.append(Remove(facts.other_key))
        diffs.append(f"- {facts.other_key}")
        whys.append("the key's other form")
    if not actions:
        return nothing("key and source are as wanted, and its lists are here")
    return Plan(tuple(actions), ", ".join(whys) or "no lists", "\n".join(diffs))


def source_text(op: Repository) -> str:
    """The source in apt's deb822 form."""
    fields = {
        "Types": "deb",
        "URIs": " ".join(op.uris),
        "Suites": " ".join(op.suites),
        "Components": " ".join(op.components),
        "Architectures": " ".join(op.architectures),
        "Signed-By": op.key_path,
    }
    return "".join(f"{name}: {value}\n" for name, value in fields.items() if value)


def _update(op: Repository, facts: RepositoryFacts) -> Run:
    options = (
        f"Dir::Etc::sourcelist={op.path}",
        "Dir::Etc::sourceparts=-",
        "APT::Get::List-Cleanup=0",
        "APT::Update::Error-Mode=any",
        # the age of the folder tells Package how old all lists are, and these are only some of them
        f"APT::Update::Post-Invoke::=touch --date=@{facts.updated_at_s} {LISTS}",
    )
    return Run(
        ("apt-get", *(word for option in options for word in ("-o", option)), "update", "--quiet"),
        deadline_s=op.lock_timeout_s + FETCH_S,
        environment=QUIET,
        lock_timeout_s=op.lock_timeout_s,
    )


def _releases_here(uri: str, suite: str) -> list[str]:
    place = _list_name(uri if uri.endswith("/") else f"{uri}/", suite)
    names = (f"{LISTS}/{place}{name}" for name in ("InRelease", "Release", "Release.gpg"))
    return [path for path in names if os.path.lexists(path)]


def _list_name(uri: str, suite: str) -> str:
    """How apt begins the names of a suite's lists."""
    folder = "" if suite == "/" else suite if suite.endswith("/") else f"dists/{suite}/"
    rest = uri.partition(":")[2]
    if rest.startswith("//"):
        authority, slash, path = rest[2:].partition("/")
        rest = authority.rpartition("@")[2] + slash + path
    quoted = (
        each
        if each not in SPECIAL and " " < each < "\x7f"
        else "".join(f"%{byte:02x}" for byte in each.encode())
        for each in rest + folder
    )
    return "".join(quoted).replace("/", "_")
