"""A file's content from a URL: in blocks over several connections, where the server gives parts of it.

What has come lies in the partial file, each block at its own place; the map beside it says which blocks are
whole and on the disk, of which version of which content. The main thread hashes the blocks in their order
while others still come, and hears the controller; all that may wait for the network runs in other threads.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import re
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from ansible_like.agent import controller, host, parts
from ansible_like.agent.values import ActionFailed, Fetch, Plan
from ansible_like.operations import Download, masked_url

LEAST_BLOCK_BYTES, MOST_BLOCK_BYTES = 4 << 20, 64 << 20
BLOCKS = 256
"""How many a file has, if its size lets it."""
PIECE_BYTES = 1 << 16
MAP_BYTES = 1 << 20
"""More than any map has."""
ANSWER_S = 30
LOOK_S = 0.5
FIRST_WAIT_S, LONGEST_WAIT_S = 0.25, 10.0
WANTING, WHOLE = b".", b"x"
AGAIN = (408, 425, 429)
OTHER_CONTENT = (412, 416)


class Changed(Exception):  # noqa: N818 - named for what happened
    """The server has another content than the one that was begun with."""


class Again(Exception):  # noqa: N818
    """It did not work this time; why."""


class Stopped(Exception):  # noqa: N818
    """The transfer has ended in another thread."""


class Layout(NamedTuple):
    """The content as the server has it, in blocks."""

    size_bytes: int
    version: str
    """What the server calls this content by: its ETag, else when it changed, else nothing."""
    block_bytes: int

    @property
    def blocks(self) -> int:
        return -(-self.size_bytes // self.block_bytes)

    def span(self, block: int) -> tuple[int, int]:
        """The block's first byte and the one after its last."""
        begin = block * self.block_bytes
        return begin, min(begin + self.block_bytes, self.size_bytes)

    def missing_bytes(self, marks: bytes) -> int:
        spans = (self.span(block) for block in missing(marks))
        return sum(end - begin for begin, end in spans)


def laid_out(size_bytes: int, version: str) -> Layout:
    block_bytes = max(LEAST_BLOCK_BYTES, min(MOST_BLOCK_BYTES, -(-size_bytes // BLOCKS)))
    return Layout(size_bytes, version, block_bytes)


def missing(marks: bytes) -> list[int]:
    return [block for block in range(len(marks)) if marks[block : block + 1] != WHOLE]


def map_header(layout: Layout, sha256: str) -> bytes:
    return json.dumps([sha256, layout.size_bytes, layout.version, layout.block_bytes]).encode() + b"\n"


def read_map(text: bytes, sha256: str) -> tuple[Layout, bytes] | None:
    """The layout and the blocks' marks; None: torn, or of another content."""
    header, _, marks = text.partition(b"\n")
    try:
        of, size_bytes, version, block_bytes = json.loads(header)
        layout = Layout(size_bytes, version, block_bytes)
        fits = of == sha256 and len(marks) == layout.blocks
    except (ValueError, TypeError, ZeroDivisionError):
        return None
    return (layout, marks) if fits else None


def total_of(content_range: str) -> int | None:
    """The whole size, from an answer's ``bytes 0-9/1000``."""
    found = re.fullmatch(r"bytes \d+-\d+/(\d+)", content_range)
    return int(found.group(1)) if found else None


def read(op: Download) -> parts.ContentFacts:
    return parts.read_content(op.path)


def plan(op: Download, facts: parts.ContentFacts) -> Plan:
    fetch_it = Fetch(op.url, op.path, op.sha256, op.mode, op.owner, op.group, op.connections, op.deadline_s)
    return parts.plan_content(op, facts, fetch_it, f"sha256 {op.sha256}, from {masked_url(op.url)}")


def fetch(action: Fetch, tell: Callable[..., Any]) -> None:
    """Bring what is missing, and put the file in place when all is there.

    Raises ActionFailed, OSError, KeyError.
    """
    until = time.monotonic() + action.deadline_s
    with parts.opened(action.path, action.owner, action.group) as part:
        while True:
            try:
                digest = _Transfer(action, part, tell, until).lead()
                break
            except Changed:
                os.ftruncate(part, 0)
                if time.monotonic() >= until:
                    late = f"the server's content still changed after {action.deadline_s:g} s"
                    raise ActionFailed(_deed(action.url), None, late) from None
                controller.pause(FIRST_WAIT_S)
        if digest != action.sha256:
            parts.remove(action.path)
            ending = f"what came has the sha256 {digest}, not {action.sha256}: it was removed"
            raise ActionFailed(_deed(action.url), None, ending)
        parts.put_in_place(part, action.path, action.mode, action.owner, action.group)
    parts.remove(action.path)


def _deed(url: str) -> str:
    return f"fetch {masked_url(url)}"


class _Transfer:
    """One way from what is there to the whole content, unless the server's changes on the way."""

    def __init__(self, action: Fetch, part: int, tell: Callable[..., Any], until: float) -> None:
        self._action, self._part, self._tell, self._until = action, part, tell, until
        self._web = _Web(action.url)
        self._state = threading.Condition()
        """Held for every change to what follows, to the partial file and to the map."""
        self._stopped = False
        self._fault: BaseException | None = None
        self._last_seen = "no answer"
        self._layout: Layout | None = None
        self._marks = bytearray()
        self._marks_at = 0
        self._map = -1
        self._todo: list[int] = []
        self._streaming = self._streamed = False
        self._came_bytes = 0
        self._progress = parts.Progress(0, 0)

    def lead(self) -> str:
        """Until all is there; gives its sha256. Raises Changed, ActionFailed, OSError, ControllerGone."""
        try:
            kept = self._kept()
            if kept and not missing(kept[1]):
                self._adopt(*kept)
            else:
                self._start(self._begin, kept)
            self._wait(lambda: self._streamed or self._layout is not None)
            if self._streamed or self._layout is None:
                return parts.hashed(self._part, os.fstat(self._part).st_size).hexdigest()
            return self._blocks_hashed(self._layout)
        finally:
            with self._state:
                self._stopped = True
                self._state.notify_all()
            if self._map >= 0:
                os.close(self._map)
            if self._streaming and not self._streamed:
                os.ftruncate(self._part, 0)  # nobody could go on from it

    def _blocks_hashed(self, layout: Layout) -> str:
        parts.refuse_without_room(self._part, layout.missing_bytes(bytes(self._marks)))
        for _ in range(min(self._action.connections, len(self._todo))):
            self._start(self._bring, layout)
        content = hashlib.sha256()
        for block in range(layout.blocks):
            self._wait(lambda block=block: self._marks[block : block + 1] == WHOLE)  # type: ignore[misc]
            parts.hash_on(content, self._part, *layout.span(block))
        return content.hexdigest()

    def _kept(self) -> tuple[Layout, bytes] | None:
        """What an earlier run left that can be gone on from."""
        with contextlib.suppress(OSError), open(parts.map_of(self._action.path), "rb") as file:
            found = read_map(file.read(MAP_BYTES), self._action.sha256)
            if found and found[0].size_bytes == os.fstat(self._part).st_size:
                return found
        return None

    def _adopt(self, layout: Layout, marks: bytes) -> None:
        """From now on this is the layout, here and in the map."""
        header = map_header(layout, self._action.sha256)
        with self._state:
            self._refuse_stopped()
            self._map = parts.open_own(parts.map_of(self._action.path))
            if os.pread(self._map, MAP_BYTES, 0) != header + marks:
                os.ftruncate(self._map, 0)
                os.pwrite(self._map, header + marks, 0)
            os.ftruncate(self._part, layout.size_bytes)
            self._marks_at, self._marks, self._todo = len(header), bytearray(marks), missing(marks)
            self._came_bytes = layout.size_bytes - layout.missing_bytes(marks)
            self._progress = parts.Progress(layout.size_bytes, self._came_bytes)
            self._layout = layout
            self._state.notify_all()

    # in the main thread

    def _wait(self, ready: Callable[[], bool]) -> None:
        """Until that is so; hears the controller, and tells it the progress."""
        while True:
            with self._state:
                if self._fault:
                    raise self._fault
                if ready():
                    return
                self._state.wait(LOOK_S)
                came = self._came_bytes
                said = self._progress.text(came)
            controller.look()
            if said:
                self._tell(progress=said)
            if time.monotonic() >= self._until:
                kept = f"{parts.in_units(came)} had come" + (" and are kept" if self._layout else "")
                ending = (
                    f"not whole after {self._action.deadline_s:g} s: {kept}; last seen: {self._last_seen}"
                )
                raise ActionFailed(_deed(self._action.url), None, ending)

    def _start(self, work: Callable[..., None], *values: Any) -> None:
        def run() -> None:
            try:
                work(*values)
            except Stopped:
                pass
            except BaseException as error:  # noqa: BLE001 - raised again in the main thread
                with self._state:
                    self._fault = self._fault or error
                    self._state.notify_all()

        # they write nothing once the main thread has stopped, so none has to be waited for
        threading.Thread(target=run, daemon=True).start()

    # in threads of their own

    def _begin(self, kept: tuple[Layout, bytes] | None) -> None:
        """See what the server has, and whether it gives parts of it; if not, take the whole at once."""
        tries = 0
        while True:
            try:
                answer = self._web.get((0, 1))
                break
            except Again as again:
                self._hold(again, tries)
                tries += 1
            except Changed:  # there is no first byte
                if kept:
                    raise
                self._stream(None)
                return
        size = total_of(answer.headers.get("Content-Range", ""))
        if answer.status == http.client.PARTIAL_CONTENT and size is not None:
            answer.close()
            layout = laid_out(size, version_of(answer))
            if kept and kept[0] != layout:
                raise Changed
            self._adopt(layout, kept[1] if kept else WANTING * layout.blocks)
            return
        if kept:
            raise Changed
        self._stream(answer if answer.status == http.client.OK else None)

    def _bring(self, layout: Layout) -> None:
        """One missing block after the other."""
        while True:
            with self._state:
                if not self._todo:
                    return
                block = self._todo.pop(0)
            self._bring_block(layout, *layout.span(block))
            os.fdatasync(self._part)  # a map that says more than the disk holds would be worse than none
            with self._state:
                self._refuse_stopped()
                self._marks[block : block + 1] = WHOLE
                os.pwrite(self._map, WHOLE, self._marks_at + block)
                self._state.notify_all()

    def _bring_block(self, layout: Layout, at: int, end: int) -> None:
        tries = 0
        while at < end:
            try:
                with self._web.get((at, end)) as answer:
                    if answer.status != http.client.PARTIAL_CONTENT or not is_of(answer, layout):
                        raise Changed
                    for piece in pieces(answer, end - at):
                        self._write(piece, at)
                        at += len(piece)
                        tries = 0
                if at < end:
                    raise Again("the connection ended early")  # noqa: TRY301
            except Again as again:
                self._hold(again, tries)
                tries += 1

    def _stream(self, answer: Any) -> None:
        """The whole, in one piece; one that breaks off starts anew."""
        tries = 0
        while True:
            try:
                with answer or self._web.get(None) as whole:
                    at, length = 0, whole.headers.get("Content-Length")
                    with self._state:
                        self._refuse_stopped()
                        self._streaming = True
                        os.ftruncate(self._part, 0)
                        self._progress = parts.Progress(int(length or 0), 0)
                        self._came_bytes = 0
                    parts.refuse_without_room(self._part, int(length or 0))
                    for piece in pieces(whole, None):
                        self._write(piece, at)
                        at += len(piece)
                if length is None or int(length) == at:
                    break
                raise Again("the connection ended early")  # noqa: TRY301
            except Again as again:
                answer = None
                self._hold(again, tries)
                tries += 1
        with self._state:
            self._streamed = True
            self._state.notify_all()

    def _write(self, piece: memoryview, at: int) -> None:
        with self._state:
            self._refuse_stopped()
            host.write(self._part, piece, at)
            self._came_bytes += len(piece)

    def _hold(self, again: Again, tries: int) -> None:
        """Wait before the next try, longer from try to try."""
        with self._state:
            self._last_seen = str(again)
            wait_s = min(FIRST_WAIT_S * 2 ** min(tries, 10), LONGEST_WAIT_S)
            self._state.wait_for(lambda: self._stopped, wait_s)
            self._refuse_stopped()

    def _refuse_stopped(self) -> None:
        if self._stopped:
            raise Stopped


class _Web:
    """The server of one URL."""

    def __init__(self, url: str) -> None:
        place = urllib.parse.urlsplit(url)
        self._deed = _deed(url)
        self._url = place._replace(netloc=place.netloc.rpartition("@")[2], fragment="").geturl()
        self._authorization = ""
        if place.username is not None:
            user = f"{urllib.parse.unquote(place.username)}:{urllib.parse.unquote(place.password or '')}"
            self._authorization = "Basic " + base64.b64encode(user.encode()).decode()
        handlers: list[Any] = []
        if place.scheme == "https":
            import ssl  # noqa: PLC0415 - 20 ms, and a context that is made once

            handlers = [urllib.request.HTTPSHandler(context=ssl.create_default_context())]
        self._opener = urllib.request.build_opener(*handlers)

    def get(self, span: tuple[int, int] | None) -> Any:
        """The answer, to be read. Raises Again, Changed, and ActionFailed where it is no use to try again."""
        request = urllib.request.Request(self._url, headers={"User-Agent": "ansible_like"})  # noqa: S310
        if span:
            request.add_header("Range", f"bytes={span[0]}-{span[1] - 1}")
        if self._authorization:
            # not for whom the server may send us to
            request.add_unredirected_header("Authorization", self._authorization)
        try:
            return self._opener.open(request, timeout=ANSWER_S)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in OTHER_CONTENT:
                raise Changed from None
            why = f"HTTP status {error.code} {error.reason}".rstrip()
            if error.code in AGAIN or error.code >= http.client.INTERNAL_SERVER_ERROR:
                raise Again(why) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            why = _why(reason)
            # a certificate that is not to be trusted, a URL that can't be used
            if not isinstance(reason, (str, ValueError, http.client.InvalidURL)):
                raise Again(why) from None
        raise ActionFailed(self._deed, None, why)


def pieces(answer: Any, count: int | None) -> Iterator[memoryview]:
    """So many bytes of the answer, or all, as they come. Raises Again."""
    buffer = memoryview(bytearray(PIECE_BYTES))
    while count is None or count > 0:
        try:
            got = answer.readinto(buffer if count is None else buffer[:count])
        except (OSError, http.client.HTTPException) as error:
            raise Again(_why(error)) from None
        if not got:
            return
        yield buffer[:got]
        count = None if count is None else count - got


def version_of(answer: Any) -> str:
    return answer.headers.get("ETag") or answer.headers.get("Last-Modified") or ""


def is_of(answer: Any, layout: Layout) -> bool:
    """It is a part of the content that the layout is of."""
    size = total_of(answer.headers.get("Content-Range", ""))
    return (size, version_of(answer)) == (layout.size_bytes, layout.version)


def _why(error: object) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
