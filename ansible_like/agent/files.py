"""Files, directories and links: what is there, and what is missing."""

from __future__ import annotations

import os
import stat
from typing import NamedTuple

from ansible_like.agent import names
from ansible_like.agent.values import (
    Action,
    MakeDirectory,
    MakeLink,
    Plan,
    Refused,
    Remove,
    SetAttributes,
    WriteFile,
    nothing,
)
from ansible_like.operations import Absent, Directory, Download, File, Link, Upload

DIFF_LINES = 200


class PathFacts(NamedTuple):
    kind: str = "absent"
    """absent, file, directory, link or other."""
    mode: int = 0
    owner: str = ""
    group: str = ""
    content: bytes = b""
    target: str = ""
    empty: bool = True
    """For a directory: nothing is in it."""


def read_path(path: str, content: bool = False) -> PathFacts:
    """Facts of a path itself, not of what a link points to; ``content`` reads a file's bytes too."""
    try:
        status = os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return PathFacts()
    kinds = {stat.S_IFREG: "file", stat.S_IFDIR: "directory", stat.S_IFLNK: "link"}
    kind = kinds.get(stat.S_IFMT(status.st_mode), "other")
    return PathFacts(
        kind=kind,
        mode=stat.S_IMODE(status.st_mode),
        owner=names.user_name(status.st_uid),
        group=names.group_name(status.st_gid),
        content=_content(path) if content and kind == "file" else b"",
        target=os.readlink(path) if kind == "link" else "",
        empty=kind != "directory" or not any(os.scandir(path)),
    )


def _content(path: str) -> bytes:
    with open(path, "rb") as file:
        return file.read()


def read_file(op: File) -> PathFacts:
    return read_path(op.path, content=True)


def read_any(op: Directory | Absent | Link) -> PathFacts:
    return read_path(op.path)


def plan_file(op: File, facts: PathFacts) -> Plan:
    if facts.kind == "directory":
        raise Refused(f"{op.path} is a directory: remove it or choose another path")
    same_attributes = (facts.mode, facts.owner, facts.group) == (op.mode, op.owner, op.group)
    if facts.kind == "file" and facts.content == op.data:
        if same_attributes:
            return nothing("content, mode and owner are as wanted")
        return Plan(
            (SetAttributes(op.path, op.mode, op.owner, op.group),),
            "mode or owner",
            attributes_diff(op, facts),
        )
    write = WriteFile(op.path, op.data, op.mode, op.owner, op.group)
    why = "content" if facts.kind == "file" else "new" if facts.kind == "absent" else f"was a {facts.kind}"
    attributes = "" if same_attributes or facts.kind != "file" else "\n" + attributes_diff(op, facts)
    return Plan((write,), why, _content_diff(op, facts) + attributes)


def plan_directory(op: Directory, facts: PathFacts) -> Plan:
    if facts.kind == "absent":
        return Plan((MakeDirectory(op.path, op.mode, op.owner, op.group),), "new", f"+ {op.path}/")
    if facts.kind != "directory":
        raise Refused(f"{op.path} is a {facts.kind}, not a directory: remove it or choose another path")
    if (facts.mode, facts.owner, facts.group) == (op.mode, op.owner, op.group):
        return nothing("mode and owner are as wanted")
    return Plan(
        (SetAttributes(op.path, op.mode, op.owner, op.group),), "mode or owner", attributes_diff(op, facts)
    )


def plan_absent(op: Absent, facts: PathFacts) -> Plan:
    if facts.kind == "absent":
        return nothing("not there")
    return Plan((Remove(op.path),), f"was a {facts.kind}", f"- {op.path}")


def plan_link(op: Link, facts: PathFacts) -> Plan:
    if facts.kind == "link" and facts.target == op.target:
        return nothing(f"points to {op.target}")
    if facts.kind in ("file", "other") or not facts.empty:
        raise Refused(f"{op.path} is a {facts.kind} that would be lost: remove it or choose another path")
    clear: list[Action] = [Remove(op.path)] if facts.kind == "directory" else []
    before = f"- {op.path} -> {facts.target}\n" if facts.kind == "link" else ""
    why = "new" if facts.kind == "absent" else "target"
    return Plan((*clear, MakeLink(op.path, op.target)), why, f"{before}+ {op.path} -> {op.target}")


def attributes_diff(op: File | Directory | Upload | Download, facts: PathFacts) -> str:
    return (
        f"- {facts.mode:04o} {facts.owner}:{facts.group} {op.path}\n"
        f"+ {op.mode:04o} {op.owner}:{op.group} {op.path}"
    )


def _content_diff(op: File, facts: PathFacts) -> str:
    if op.secret:
        return f"± {op.path}: the content is secret and not shown"
    try:
        before, after = facts.content.decode(), op.data.decode()
    except UnicodeDecodeError:
        return f"± {op.path}: binary, {len(facts.content)} → {len(op.data)} bytes"
    if facts.kind == "absent":
        added = after.splitlines()
        place = "+1" if len(added) == 1 else f"+1,{len(added)}"
        head = ["--- /dev/null", f"+++ {op.path}", f"@@ -0,0 {place} @@"]
        lines = [*head, *(f"+{line}" for line in added)] if added else []
    else:
        import difflib  # noqa: PLC0415 - 7 ms that only a file that was there before need pay

        both = (before.splitlines(), after.splitlines(), op.path, op.path)
        lines = list(difflib.unified_diff(*both, lineterm="", n=2))
    more = [f"… {len(lines) - DIFF_LINES} more lines"] if len(lines) > DIFF_LINES else []
    return "\n".join(lines[:DIFF_LINES] + more)
