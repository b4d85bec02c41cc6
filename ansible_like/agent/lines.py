"""Single lines of files that are somebody else's: configuration lines and authorized keys."""

from __future__ import annotations

import os
import pwd
import re
from typing import NamedTuple

from ansible_like.agent import files, names
from ansible_like.agent.values import Action, MakeDirectory, Plan, Refused, SetAttributes, WriteFile, nothing
from ansible_like.operations import AuthorizedKey, LineInFile

KEY = r"(?:^|\s)((?:sk-)?(?:ssh|ecdsa)-\S+\s+AAAA\S+)"
QUOTED = r'"(?:\\.|[^"\\])*"'


class KeyFacts(NamedTuple):
    home: str | None
    """None: there is no such user."""
    group: str
    folder: files.PathFacts
    file: files.PathFacts


def read_line(op: LineInFile) -> files.PathFacts:
    return files.read_path(op.path, content=True)


def plan_line(op: LineInFile, facts: files.PathFacts) -> Plan:
    if facts.kind == "absent":
        if not op.present:
            return nothing(f"there is no {op.path}")
        raise Refused(f"there is no {op.path}: make it with File before this step")
    if facts.kind != "file":
        where = f" to {facts.target}: name that file" if facts.kind == "link" else ""
        raise Refused(f"{op.path} is a {facts.kind}{where}, and not a file that has lines")
    wanted, pattern = _bytes(op.line), re.compile(op.replaces) if op.replaces else None
    lines, ended = _lines(facts.content)
    places = [
        index
        for index, line in enumerate(lines)
        if _bytes(line) == wanted or (pattern and pattern.search(line))
    ]
    if [_bytes(lines[place]) for place in places] == ([wanted] if op.present else []):
        return nothing("the line is there" if op.present else "no such line")
    content = _edited(lines, ended, places, op.line if op.present else None)
    gone = [lines[place] for place in places if not op.present or _bytes(lines[place]) != wanted]
    shown = [*(f"- {line}" for line in gone), *([f"+ {op.line}"] if op.present else [])]
    diff = f"± {op.path}: the line is secret and not shown" if op.secret else "\n".join(shown)
    write = WriteFile(op.path, content, facts.mode, facts.owner, facts.group)
    return Plan((write,), "line", diff.encode("utf-8", "replace").decode())


def read_key(op: AuthorizedKey) -> KeyFacts:
    try:
        entry = pwd.getpwnam(op.user)
    except KeyError:
        return KeyFacts(None, "", files.PathFacts(), files.PathFacts())
    folder = os.path.join(entry.pw_dir, ".ssh")
    return KeyFacts(
        entry.pw_dir if os.path.isdir(entry.pw_dir) else "",
        names.group_name(entry.pw_gid),
        files.read_path(folder),
        files.read_path(f"{folder}/authorized_keys", content=True),
    )


def plan_key(op: AuthorizedKey, facts: KeyFacts) -> Plan:
    key = identity(op.key)
    if key is None:
        raise Refused("it is not a line of authorized_keys: options, type, key, comment")
    if facts.home is None:
        raise Refused(f"no user {op.user!r} on this host: make it with User before this step")
    folder = f"{facts.home}/.ssh"
    path = f"{folder}/authorized_keys"
    # the user could point root's hand elsewhere with a link
    for place, found, kind in ((folder, facts.folder, "directory"), (path, facts.file, "file")):
        if found.kind not in ("absent", kind):
            raise Refused(f"{place} is a {found.kind}, not a {kind}: remove it")
    lines, ended = _lines(facts.file.content)
    blob = key[1]
    places = [index for index, line in enumerate(lines) if (identity(line) or ("", ""))[1] == blob]
    if not op.present:
        if not places:
            return nothing("no such key")
        content = _edited(lines, ended, places, None)
        write = WriteFile(path, content, facts.file.mode, facts.file.owner, facts.file.group)
        return Plan((write,), "key", f"- {op.title}")
    if not facts.home:
        raise Refused(f"{op.user} has no home directory: make it with Directory before this step")
    actions: list[Action] = []
    diffs: list[str] = []
    if facts.folder.kind == "absent":
        actions.append(MakeDirectory(folder, 0o700, op.user, facts.group))
        diffs.append(f"+ {folder}/")
    elif (facts.folder.mode, facts.folder.owner) != (0o700, op.user):
        actions.append(SetAttributes(folder, 0o700, op.user, facts.group))
        diffs.append(f"± mode and owner of {folder}")
    if [identity(lines[place]) for place in places] != [key]:
        content = _edited(lines, ended, places, op.key.strip())
        actions.append(WriteFile(path, content, 0o600, op.user, facts.group))
        diffs += [*("- " + lines[place] for place in places), f"+ {op.key.strip()}"]
    elif (facts.file.mode, facts.file.owner) != (0o600, op.user):
        actions.append(SetAttributes(path, 0o600, op.user, facts.group))
        diffs.append(f"± mode and owner of {path}")
    if not actions:
        return nothing("the key is there, and only its user may write it")
    return Plan(tuple(actions), "key, mode or owner", "\n".join(diffs))


def identity(line: str) -> tuple[str, str] | None:
    """Options and key of a line; None where it has none. Quoted options may look like keys, so they wait."""
    bare = re.sub(QUOTED, lambda quoted: "_" * len(quoted.group()), line)
    found = re.search(KEY, bare)
    if not found or line.lstrip().startswith("#"):
        return None
    return line[: found.start(1)].strip(), " ".join(found.group(1).split())


def _lines(content: bytes) -> tuple[list[str], bool]:
    """The lines, and whether the last of them ends with a newline, as it should."""
    lines = content.decode("utf-8", "surrogateescape").split("\n")
    ended = lines[-1] == ""
    return (lines[:-1] if ended else lines), ended


def _edited(lines: list[str], ended: bool, places: list[int], line: str | None) -> bytes:
    """The lines without those at the places, and with the line at the first of them, or else at the end."""
    kept = [each for index, each in enumerate(lines) if index not in places]
    if line is not None:
        kept.insert(places[0] if places else len(kept), line)
    touches_the_end = not places or places[-1] == len(lines) - 1
    return _bytes("\n".join(kept) + ("\n" if kept and (ended or touches_the_end) else ""))


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
