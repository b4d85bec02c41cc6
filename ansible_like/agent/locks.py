"""Who holds apt's locks."""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct

PATHS = (
    "/var/lib/dpkg/lock-frontend",
    "/var/lib/dpkg/lock",
    "/var/lib/apt/lists/lock",
    "/var/cache/apt/archives/lock",
)
FLOCK = "hhqqi4x"  # struct flock: type, whence, start, length, process
SHOWN_CHARACTERS = 72


def holder(paths: tuple[str, ...] = PATHS) -> str:
    """Which process holds one of them, and which; empty: none does, as far as we may see."""
    asked = struct.pack(FLOCK, fcntl.F_WRLCK, os.SEEK_SET, 0, 0, 0)
    for path in paths:
        with contextlib.suppress(OSError), open(path, "rb") as file:
            kind, _, _, _, pid = struct.unpack(FLOCK, fcntl.fcntl(file, fcntl.F_GETLK, asked))
            if kind != fcntl.F_UNLCK:
                return f"process {pid}{_command(pid)}, which holds {path}"
    return ""


def _command(pid: int) -> str:
    with contextlib.suppress(OSError), open(f"/proc/{pid}/cmdline", "rb") as file:
        text = file.read().replace(b"\0", b" ").decode("utf-8", "replace").strip()
        return f" (`{text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + '…'}`)"
    return ""
