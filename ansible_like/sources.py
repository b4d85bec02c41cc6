"""What a run sends, made ready once however many hosts want it: local files' digests, and the operations."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from io import FileIO
from pathlib import Path
from typing import Final, Self

from ansible_like import program
from ansible_like.agent.controller import ALIVE, CONTENT
from ansible_like.operations import Operation, Upload, encode
from ansible_like.problems import Problem

PIECE_BYTES: Final = 32768 - 64  # what fits into one packet of sshd, and so is neither cut nor copied again
HASHED_BYTES: Final = 1 << 20
ALIVE_EVERY: Final = 1024  # pieces of HASHED_BYTES that take well below a second each


class SourceFault(Exception):  # noqa: N818 - named for what it is about
    """A source that can't be sent: why, in words."""


@dataclass(frozen=True)
class Source:
    """A local file as it was when the run began."""

    path: Path
    size_bytes: int
    sha256: str
    changed_ns: int

    @classmethod
    def read(cls, path: str, ended: threading.Event) -> Self:
        """Its size and digest. Raises SourceFault, also where ``ended`` is set before all is read."""
        content = hashlib.sha256()
        try:
            with Path(path).open("rb", buffering=0) as file:
                status = os.fstat(file.fileno())
                while piece := file.read(HASHED_BYTES):
                    content.update(piece)
                    if ended.is_set():
                        raise SourceFault(f"the run was ended before its source {path} was read")
        except OSError as error:
            raise _unreadable(path, error) from error
        return cls(Path(path), status.st_size, content.hexdigest(), status.st_mtime_ns)

    def answer(self, offset: int, sha256: str) -> Iterator[bytes]:
        """What the agent is sent that has ``offset`` bytes of this digest: the rest, or if they differ all.

        Raises SourceFault where the file is not what it was.
        """
        try:
            with self.path.open("rb", buffering=0) as file:
                self._refuse_change(file)
                prefix = hashlib.sha256()
                for number in range(-(-offset // HASHED_BYTES)):
                    prefix.update(file.read(min(HASHED_BYTES, offset - number * HASHED_BYTES)))
                    if number % ALIVE_EVERY == ALIVE_EVERY - 1:
                        yield ALIVE
                begin = offset if prefix.hexdigest() == sha256 else 0
                yield CONTENT + begin.to_bytes(8, "big")
                file.seek(begin)
                left = self.size_bytes - begin
                while left and (piece := file.read(min(PIECE_BYTES, left))):
                    left -= len(piece)
                    if not left:
                        self._refuse_change(file)
                    yield piece
                if left:
                    self._refuse_change(file)
        except OSError as error:
            raise _unreadable(self.path, error) from error

    def _refuse_change(self, file: FileIO) -> None:
        status = os.fstat(file.fileno())
        if (status.st_size, status.st_mtime_ns) != (self.size_bytes, self.changed_ns):
            raise SourceFault(f"its source {self.path} changed since this run began")


def _unreadable(path: str | Path, error: OSError) -> SourceFault:
    return SourceFault(f"its source {path} can't be read: {error.strerror}")


class Sources:
    """The sources of one run, read in the background from its beginning on."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        paths = {each.source for each in operations if isinstance(each, Upload)}
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._packed: dict[int, Future[bytes]] = {}
        self._reading: dict[str, Future[Source]] = {}
        if paths:
            # as many as can be hashed at once; threads of their own, so that hosts are reached meanwhile
            pool = ThreadPoolExecutor(min(len(paths), os.cpu_count() or 1), thread_name_prefix="source")
            self._reading = {path: pool.submit(Source.read, path, self._ended) for path in sorted(paths)}
            pool.shutdown(wait=False)

    def of(self, upload: Upload) -> Source:
        """Waits until it is read. Raises SourceFault."""
        return self._reading[upload.source].result()

    def sealed(self, operation: Operation) -> Operation:
        """The operation as it is sent: a source by its content, wherever it lies here. Raises SourceFault."""
        if not isinstance(operation, Upload):
            return operation
        source = self.of(operation)
        return replace(operation, source="", size_bytes=source.size_bytes, sha256=source.sha256)

    def packed(self, operations: Sequence[Operation]) -> bytes:
        """The operations as they are sent, encoded once for all hosts that share the very same sequence.

        Raises SourceFault.
        """
        mine: Future[bytes] = Future()
        with self._lock:
            packed = self._packed.setdefault(id(operations), mine)
        if packed is mine:
            try:
                mine.set_result(program.packed([encode(each) for each in self._sealed(operations)]))
            except BaseException as error:
                mine.set_exception(error)
                raise
        return packed.result()

    def _sealed(self, operations: Iterable[Operation]) -> Iterator[Operation]:
        for operation in operations:
            try:
                yield self.sealed(operation)
            except SourceFault as fault:
                raise SourceFault(f"{operation.title}: {fault}") from fault

    def end(self) -> None:
        """Read no further."""
        self._ended.set()


def digest(operations: Sequence[Operation]) -> str:
    """sha256 (hex) over the whole desired state; contents and secrets go in only through the hash.

    Raises SourceFault when an Upload's source can't be read.
    """
    sources = Sources(operations)
    wires = [encode(sources.sealed(operation)) for operation in operations]
    return hashlib.sha256(json.dumps(wires, sort_keys=True, default=_told).encode()).hexdigest()


def _told(content: bytes) -> dict[str, str]:
    """Bytes as JSON, told apart from text."""
    return {"$bytes": content.hex()}


def problems_of_sources(operations: Iterable[Operation]) -> Iterator[Problem]:
    """What can be seen of the sources without reading them."""
    for each in operations:
        if isinstance(each, Upload) and isinstance(each.source, str):
            path = Path(each.source)
            try:
                if stat.S_ISREG(path.stat().st_mode):
                    path.open("rb").close()
                else:
                    yield Problem(each.title, f"its source {path} is no regular file", "Name a file.")
            except OSError as error:
                yield Problem(each.title, str(_unreadable(path, error)), "Name a file that is here.")
