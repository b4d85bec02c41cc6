"""Files whose content arrives in parts: what is there of them, and how they become whole or go."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from ansible_like.agent import controller, files, host, names
from ansible_like.agent.values import (
    Action,
    ActionFailed,
    Fetch,
    Plan,
    Receive,
    Refused,
    Remove,
    SetAttributes,
    nothing,
)

if TYPE_CHECKING:
    from hashlib import _Hash

    from ansible_like.operations import Download, Upload

PIECE_BYTES = 1 << 20
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PROGRESS_BYTES = 16 << 20
PROGRESS_STEPS = 20


class ContentFacts(NamedTuple):
    path: files.PathFacts
    size_bytes: int = 0
    sha256: str = ""
    """Empty: not a file, or of another size than is wanted."""
    parts: tuple[str, ...] = ()
    """What a run that was cut off left beside it."""


def part_of(path: str) -> str:
    return _beside(path, "part")


def map_of(path: str) -> str:
    return _beside(path, "map")


def _beside(path: str, kind: str) -> str:
    directory, name = os.path.split(path)
    return os.path.join(directory, f".{name}.ansible_like.{kind}")


def read_content(path: str, size_bytes: int | None = None) -> ContentFacts:
    """Facts of a file, whose content is looked at only where it has the size; None: any."""
    facts = files.read_path(path)
    parts = tuple(each for each in (part_of(path), map_of(path)) if os.path.lexists(each))
    if facts.kind != "file":
        return ContentFacts(facts, parts=parts)
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if size_bytes not in (None, size):
            return ContentFacts(facts, size, parts=parts)
        return ContentFacts(facts, size, hashed(file.fileno(), size).hexdigest(), parts)


def plan_content(op: Upload | Download, facts: ContentFacts, bring: Receive | Fetch, wanted: str) -> Plan:
    """``wanted``: the content in words, for the diff."""
    there = facts.path
    if there.kind == "directory":
        raise Refused(f"{op.path} is a directory: remove it or choose another path")
    same_attributes = (there.mode, there.owner, there.group) == (op.mode, op.owner, op.group)
    if facts.sha256 == op.sha256:
        clear: list[Action] = [Remove(path) for path in facts.parts]
        if same_attributes and not clear:
            return nothing("content, mode and owner are as wanted")
        diffs = [f"- {path}" for path in facts.parts]
        if same_attributes:
            return Plan(tuple(clear), "what a run that was cut off left", "\n".join(diffs))
        attributes = SetAttributes(op.path, op.mode, op.owner, op.group)
        return Plan(
            (*clear, attributes), "mode or owner", "\n".join([*diffs, files.attributes_diff(op, there)])
        )
    why = {"file": "content", "absent": "new"}.get(there.kind, f"was a {there.kind}")
    diffs = [f"+ {op.path}: {wanted}"]
    if there.kind == "file":
        known = f", sha256 {facts.sha256}" if facts.sha256 else ""
        diffs.insert(0, f"- {op.path}: {facts.size_bytes} bytes{known}")
        diffs += [] if same_attributes else [files.attributes_diff(op, there)]
    return Plan((bring,), why, "\n".join(diffs))


@contextlib.contextmanager
def opened(path: str, owner: str, group: str) -> Iterator[int]:
    """The partial file of a path, made where it is missing; it stays, unless the disk is full.

    Raises ActionFailed where it is full, OSError, KeyError where there is no such owner or group.
    """
    names.user_id(owner)  # better now than after all has come
    names.group_id(group)
    descriptor = open_own(part_of(path))
    try:
        yield descriptor
    except OSError as error:
        if error.errno not in NO_ROOM:
            raise
        remove(path)
        ending = f"{error.strerror}: what had arrived was removed, so that there is room again"
        raise ActionFailed(f"write {path}", None, ending) from error
    finally:
        if not os.fstat(descriptor).st_size:
            remove(path)
        os.close(descriptor)


def open_own(path: str) -> int:
    """A descriptor of a file that nobody else writes, made where it is missing."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        descriptor = os.open(path, flags, 0o600)
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and status.st_nlink == 1:
            return descriptor
        os.close(descriptor)
    # planted by another, or not to be had: ours is made anew, or the reason told
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return os.open(path, flags | os.O_EXCL, 0o600)


def refuse_without_room(descriptor: int, needed_bytes: int) -> None:
    """Raises OSError where the filesystem can't hold so many bytes more."""
    room = os.fstatvfs(descriptor)
    free_bytes = (room.f_bavail if os.geteuid() else room.f_bfree) * room.f_frsize
    if room.f_blocks and free_bytes < needed_bytes:
        lack = f"{in_units(needed_bytes)} are needed, {in_units(free_bytes)} free"
        raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} ({lack})")


def hashed(descriptor: int, size_bytes: int) -> _Hash:
    """The sha256 of the first bytes. Raises ControllerGone."""
    content = hashlib.sha256()
    hash_on(content, descriptor, 0, size_bytes)
    return content


def hash_on(content: _Hash, descriptor: int, begin: int, end: int) -> None:
    """Add these bytes of the file to the hash. Raises ControllerGone."""
    piece = memoryview(bytearray(min(PIECE_BYTES, max(end - begin, 1))))
    at = begin
    while at < end and (count := os.preadv(descriptor, [piece[: end - at]], at)):
        content.update(piece[:count])
        at += count
        controller.look()


def put_in_place(descriptor: int, path: str, mode: int, owner: str, group: str) -> None:
    """The partial file is whole: make it the file."""
    os.fsync(descriptor)
    host.set_attributes(part_of(path), mode, owner, group)
    os.replace(part_of(path), path)


def remove(path: str) -> None:
    """Everything that is there of a path that is not whole."""
    for each in (map_of(path), part_of(path)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(each)


class Progress:
    """Says now and then how much has come."""

    def __init__(self, total_bytes: int, came_bytes: int) -> None:
        self._total = total_bytes
        self._step = max(PROGRESS_BYTES, total_bytes // PROGRESS_STEPS)
        self._next = came_bytes + self._step

    def text(self, came_bytes: int) -> str:
        """Empty: not yet worth saying."""
        if came_bytes < self._next:
            return ""
        self._next = came_bytes + self._step
        return in_units(came_bytes) + (f" of {in_units(self._total)}" if self._total else "")


def in_units(count: int) -> str:
    for bits, unit in ((30, "GiB"), (20, "MiB")):
        if count >> bits:
            return f"{count / (1 << bits):.1f} {unit}"
    return f"{count} bytes"
