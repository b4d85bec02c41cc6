"""A file's content from the controller, over the agent's own stdin."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from typing import Any

from ansible_like.agent import controller, host, parts
from ansible_like.agent.values import ActionFailed, Plan, Receive
from ansible_like.operations import Upload


def read(op: Upload) -> parts.ContentFacts:
    return parts.read_content(op.path, op.size_bytes)


def plan(op: Upload, facts: parts.ContentFacts) -> Plan:
    receive_it = Receive(op.path, op.size_bytes, op.sha256, op.mode, op.owner, op.group)
    return parts.plan_content(op, facts, receive_it, f"{op.size_bytes} bytes, sha256 {op.sha256}")


def receive(action: Receive, tell: Callable[..., Any]) -> None:
    """Ask for what is missing, and put the file in place when all is there.

    Raises ActionFailed, OSError, KeyError.
    """
    size = action.size_bytes
    with parts.opened(action.path, action.owner, action.group) as part:
        have = min(os.fstat(part).st_size, size)
        content = parts.hashed(part, have)
        if have < size or content.hexdigest() != action.sha256:
            parts.refuse_without_room(part, size - have)
            tell(need=have, sha256=content.hexdigest())
            begin = controller.content_from()
            content = _take(part, size, begin, content if begin else hashlib.sha256(), tell)
        if content.hexdigest() != action.sha256:
            parts.remove(action.path)
            raise ActionFailed(
                f"receive {action.path}",
                None,
                f"what came has the sha256 {content.hexdigest()}, not {action.sha256}: it was removed",
            )
        os.ftruncate(part, size)
        parts.put_in_place(part, action.path, action.mode, action.owner, action.group)


def _take(part: int, size: int, begin: int, content: Any, tell: Callable[..., Any]) -> Any:
    """Write what comes from ``begin`` on; gives the hash of the whole."""
    os.ftruncate(part, begin)
    progress = parts.Progress(size, begin)
    buffer = memoryview(bytearray(parts.PIECE_BYTES))
    at = begin
    while at < size:
        count = controller.read_into(buffer[: size - at])
        content.update(buffer[:count])
        host.write(part, buffer[:count], at)
        at += count
        if said := progress.text(at):
            tell(progress=said)
    return content
