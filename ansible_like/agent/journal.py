"""What a host remembers of a run that has not come to its end, and, bounded, of those before.

``journal.jsonl`` holds the steps that must still act on a change, and the commands that are done and that no
guard knows of. A successor that was given the same steps up to such a command does not run it again, unless
an earlier step had to change something anew. What a run did that has ended well counts for that run alone,
which comes again where its end went unheard. ``history.jsonl`` tells what was changed and what failed.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_like.agent.values import json_line

HISTORY_BYTES = 1 << 20
TIME_FORM = "%Y-%m-%d %H:%M:%S %Z"


class Journal:
    """The journal of one run over these steps (each as it came), and what its predecessor left to it."""

    def __init__(self, state: str, steps: Sequence[object], run: str, who: str, purpose: str) -> None:
        self._path, self._history = f"{state}/journal.jsonl", f"{state}/history.jsonl"
        self._steps, self._run, self._who, self._purpose = steps, run, who, purpose
        self._prefixes: list[str] = []
        self._is_open = False
        self._telling = -1
        self._due: set[str] = set()
        self._done: dict[str, str] = {}
        self._booted_from: dict[str, str] = {}
        ended = run
        for line in _lines(self._path):
            if "due" in line:
                self._due.add(line["due"])
            if "acted" in line:
                self._due.discard(line["acted"])
            if "done" in line:
                self._done[line["done"]] = line["at"]
            if "reboot" in line:
                self._booted_from[line["reboot"]] = line["boot"]
            ended = line.get("ended", ended)
        if ended != run:
            self._done, self._booted_from = {}, {}

    def is_due(self, title: str) -> bool:
        """Whether the step must still act on a change of a run that did not come to it."""
        return title in self._due

    def done_at(self, index: int) -> str:
        """When the predecessor had done this command, after the same steps; empty: it had not."""
        return self._done.get(self._prefix(index), "") if self._done else ""

    def booted_from(self, index: int) -> str:
        """The id of the boot that the predecessor ended with this step; empty: it had not come to it."""
        return self._booted_from.get(self._prefix(index), "") if self._booted_from else ""

    def forget_done_after(self, index: int) -> None:
        """The step changed something anew: the commands after it are to be done again."""
        if self._done:
            kept = {self._prefix(each) for each in range(index + 1)}
            left = {prefix: at for prefix, at in self._done.items() if prefix in kept}
            if left != self._done:
                self._done = left
                self._write(self._notes())

    def add_due(self, titles: set[str]) -> None:
        if titles - self._due:
            self._due |= titles
            self._add(*({"due": title} for title in sorted(titles)))

    def acted(self, title: str) -> None:
        if title in self._due:
            self._due.discard(title)
            self._add({"acted": title})

    def add_done(self, index: int) -> None:
        prefix, at = self._prefix(index), _now()
        self._done[prefix] = at
        self._add({"done": prefix, "at": at})

    def add_reboot(self, index: int, boot: str) -> None:
        """The step is about to end this boot."""
        prefix = self._prefix(index)
        self._booted_from[prefix] = boot
        self._add({"reboot": prefix, "boot": boot})

    def tell(self, title: str, status: str, why: str) -> None:
        """For the history: what a step changed, or how it failed."""
        line = {"at": _now(), "who": self._who, "purpose": self._purpose}
        if self._telling < 0:
            self._telling = _descriptor(self._history, os.O_APPEND)
        # without a buffer: what a full disk refuses must not be tried again when the program ends
        os.write(self._telling, json_line({**line, "title": title, "status": status, "why": why}))
        if os.fstat(self._telling).st_size > HISTORY_BYTES:
            os.close(self._telling)
            self._telling = -1
            with open(self._history, "rb") as file:
                file.seek(-HISTORY_BYTES // 2, os.SEEK_END)
                file.readline()  # the rest of one
                latest = file.read()
            _replace(self._history, latest)

    def end(self) -> None:
        """The run has ended well: what other plays left to be acted on stays, the rest only for itself."""
        if notes := self._notes():
            self._write([*notes, {"ended": self._run}])
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._path)

    def _add(self, *lines: dict[str, Any]) -> None:
        if not self._is_open:
            self._write(self._notes())
            return
        with _opened(self._path, os.O_APPEND) as file:
            file.write(b"".join(map(json_line, lines)))
            file.flush()
            os.fsync(file.fileno())

    def _write(self, notes: Sequence[Mapping[str, Any]]) -> None:
        head = {"who": self._who, "purpose": self._purpose, "since": _now()}
        _replace(self._path, b"".join(map(json_line, (head, *notes))))
        self._is_open = True

    def _notes(self) -> list[dict[str, Any]]:
        """What is known, as far as it is true of this run."""
        lines = [{"due": title} for title in sorted(self._due)]
        if self._done or self._booted_from:
            own = {self._prefix(index) for index in range(len(self._steps))}
            lines += [{"done": key, "at": at} for key, at in self._done.items() if key in own]
            lines += [{"reboot": key, "boot": boot} for key, boot in self._booted_from.items() if key in own]
        return lines

    def _prefix(self, index: int) -> str:
        """Names a step together with all before it; secrets go in only through the hash."""
        from _blake2 import blake2b  # noqa: PLC0415 - hashlib would load OpenSSL

        while len(self._prefixes) <= index:
            before = self._prefixes[-1] if self._prefixes else ""
            text = f"{before}{self._steps[len(self._prefixes)]!r}"
            self._prefixes.append(blake2b(text.encode(), digest_size=16).hexdigest())
        return self._prefixes[index]


def _lines(path: str) -> list[dict[str, Any]]:
    """What was written whole; a line that a power loss tore says nothing."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            text = file.read()
    except OSError:
        return []
    lines = []
    for each in text.splitlines():
        try:
            line = json.loads(each)
        except ValueError:
            continue
        if isinstance(line, dict):
            lines.append(line)
    return lines


def _replace(path: str, content: bytes) -> None:
    temporary = f"{path}.ansible_like"
    with _opened(temporary, os.O_TRUNC) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def _opened(path: str, flags: int) -> Any:
    return open(_descriptor(path, flags), "ab")


def _descriptor(path: str, flags: int) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | flags, 0o600)


def _now() -> str:
    return time.strftime(TIME_FORM)
