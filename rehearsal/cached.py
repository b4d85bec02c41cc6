"""Slow things that are made once: keyed by what they are made of, made under a lock, never seen half made."""

import fcntl
import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

from cluster.problems import BadInput, Failure

GIB = 1024**3
LAST_LINES = 15
GRACE_S = 10.0
SIGN_OF_LIFE_S = 30.0


def digest(parts: Iterable[tuple[str, bytes]]) -> str:
    """Sixteen hex digits over named contents, whatever their order."""
    total = hashlib.sha256()
    for name, content in sorted(parts):
        total.update(f"{len(name)} {name} {len(content)}\n".encode() + content)
    return total.hexdigest()[:16]


def contents(directory: Path) -> Iterator[tuple[str, bytes]]:
    """Each file under a directory: its relative path (marked when executable) and its bytes."""
    for path in directory.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            mark = "+x" if os.access(path, os.X_OK) else ""
            yield f"{path.relative_to(directory).as_posix()}{mark}", path.read_bytes()


def say(text: str) -> None:
    """One line of progress, at once, on standard error: standard output is for results."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


@contextmanager
def step(what: str) -> Iterator[None]:
    """Announces a slow step and tells how long it took."""
    say(f"{what} …")
    started = time.monotonic()
    yield
    say(f"{what}: {time.monotonic() - started:.0f} s")


@contextmanager
def lock(path: Path) -> Iterator[int]:
    """Holds a file's lock; says so when another process has it. Yields the lock's descriptor."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"another set-up is at work on {path.with_suffix('')}: waiting for it …")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def is_held(path: Path) -> bool:
    """Whether some process holds a lock file."""
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def run(
    command: Sequence[str],
    *,
    log: Path,
    what: str,
    remedy: str,
    environment: Mapping[str, str] | None = None,
    held: Sequence[int] = (),
) -> None:
    """Runs a command with its output in a log file.

    The child keeps the ``held`` locks: even when this process is killed, nobody begins the same work before
    the child is gone. An interrupt ends the child first. Raises Failure with exit code and last lines.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=None if environment is None else {**os.environ, **environment},
            pass_fds=tuple(held),
            start_new_session=True,
        )
        try:
            code = _wait(child)
        except BaseException:
            _end(child)
            raise
    if code != 0:
        tail = log.read_text(errors="replace").splitlines()[-LAST_LINES:]
        shown = "\n".join(f"    | {line}" for line in tail)
        raise Failure(
            f"{what} failed: {command[0]} ended with exit code {code}\n{shown}", f"{remedy} Log: {log}"
        )


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Waits for a child's exit code and shows meanwhile that something is going on."""
    started = time.monotonic()
    while True:
        try:
            return child.wait(SIGN_OF_LIFE_S)
        except subprocess.TimeoutExpired:
            say(f"    … {time.monotonic() - started:.0f} s")


def _end(child: subprocess.Popen[bytes]) -> None:
    """Asks a child and all it started to end, then makes them."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(child.pid, number)
            child.wait(GRACE_S)
        except ProcessLookupError:
            return
        except subprocess.TimeoutExpired:
            continue


def need_free(directory: Path, needed_gib: float, what: str) -> None:
    """Refuses before anything is made when the file system is too small for it."""
    directory.mkdir(parents=True, exist_ok=True)
    free_gib = shutil.disk_usage(directory).free / GIB
    if free_gib < needed_gib:
        raise Failure(
            f"{what} needs {needed_gib:.0f} GiB in {directory}, and {free_gib:.1f} GiB are free",
            "Free some space there, or set DRYDOCK_CACHE to a folder on a larger file system.",
        )


def command_line(work: Callable[[], object]) -> NoReturn:
    """Runs a module's work as a program: a refusal is a text and an exit code, not a traceback."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        work()
    except (BadInput, Failure) as refusal:
        say(f"error: {refusal}")
        sys.exit(2 if isinstance(refusal, BadInput) else 1)
    except KeyboardInterrupt:
        say("interrupted: finished steps are kept, so the next run goes on from there")
        sys.exit(130)
    sys.exit(0)
