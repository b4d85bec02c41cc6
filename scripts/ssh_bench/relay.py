"""A relay in front of each host that adds a round trip's delay, half of it each way.

    python -m scripts.ssh_bench.relay DELAY_MS < ways.json      ways: [[listen address, port, host], …]

Order is kept and buffers are bounded. TCP's own handshake is the kernel's and takes no time here, so the way
to the host opens one and a half round trips late, which is when a far host would have seen the connection.
"""

import asyncio
import contextlib
import json
import sys
from collections import deque

CHUNK_BYTES = 1 << 16
BUFFER_BYTES = 16 << 20
"""In flight, each way: at 100 ms this lets 320 MB/s through."""
SSH_PORT = 22


class DelayLine:
    """Bytes on their way: each chunk comes out ``delay_s`` after it went in, in order."""

    def __init__(self, delay_s: float, capacity_bytes: int = BUFFER_BYTES) -> None:
        self._delay_s = delay_s
        self._capacity_bytes = capacity_bytes
        self._chunks: deque[tuple[float, bytes]] = deque()
        self._size_bytes = 0

    @property
    def is_full(self) -> bool:
        return self._size_bytes >= self._capacity_bytes

    @property
    def next_due_s(self) -> float | None:
        """When the next chunk comes out; None while nothing is on its way."""
        return self._chunks[0][0] if self._chunks else None

    def put(self, now_s: float, chunk: bytes) -> None:
        self._chunks.append((now_s + self._delay_s, chunk))
        self._size_bytes += len(chunk)

    def take(self, now_s: float) -> bytes:
        """All that is due by now, as one piece."""
        due = []
        while self._chunks and self._chunks[0][0] <= now_s:
            due.append(self._chunks.popleft()[1])
        piece = b"".join(due)
        self._size_bytes -= len(piece)
        return piece


class _Pump:
    """One direction of one connection."""

    def __init__(self, source: asyncio.StreamReader, target: asyncio.StreamWriter, delay_s: float) -> None:
        self._source, self._target = source, target
        self._line = DelayLine(delay_s)
        self._delay_s = delay_s
        self._moved = asyncio.Event()
        self._at_end = False

    async def run(self) -> None:
        async with asyncio.TaskGroup() as both:
            both.create_task(self._fill())
            both.create_task(self._drain())

    async def _fill(self) -> None:
        now = asyncio.get_running_loop().time
        with contextlib.suppress(OSError):  # either side may go at any time
            while chunk := await self._source.read(CHUNK_BYTES):
                self._line.put(now(), chunk)
                self._moved.set()
                while self._line.is_full:
                    await asyncio.sleep(self._delay_s / 10)
        self._at_end = True
        self._moved.set()

    async def _drain(self) -> None:
        now = asyncio.get_running_loop().time
        with contextlib.suppress(OSError):  # either side may go at any time
            while True:
                if (due := self._line.next_due_s) is None:
                    if self._at_end:
                        break
                    self._moved.clear()
                    await self._moved.wait()
                    continue
                await asyncio.sleep(max(0.0, due - now()))
                self._target.write(self._line.take(now()))
                await self._target.drain()
            if self._target.can_write_eof():
                self._target.write_eof()


async def _relay(
    host: str, round_trip_s: float, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await asyncio.sleep(1.5 * round_trip_s)
    to_host: asyncio.StreamWriter | None = None
    try:
        from_host, to_host = await asyncio.open_connection(host, SSH_PORT)
        async with asyncio.TaskGroup() as both:
            both.create_task(_Pump(reader, to_host, round_trip_s / 2).run())
            both.create_task(_Pump(from_host, writer, round_trip_s / 2).run())
    except OSError as error:
        sys.stderr.write(f"relay to {host}: {error}\n")
    finally:
        for each in (writer, to_host):
            if each:
                each.close()


async def serve(ways: list[tuple[str, int, str]], round_trip_s: float) -> None:
    """Relay every way until cancelled; one line on standard output when all listen."""

    def handler(host: str):  # type: ignore[no-untyped-def]
        return lambda reader, writer: _relay(host, round_trip_s, reader, writer)

    for address, port, host in ways:
        await asyncio.start_server(handler(host), address, port, backlog=128)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(json.load(sys.stdin), float(sys.argv[1]) / 1000))
