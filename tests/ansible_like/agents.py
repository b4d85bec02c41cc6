"""The agent as a process of this machine, spoken to as the controller does, without SSH."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ansible_like import program
from ansible_like.operations import Operation, encode
from tests import measured

_CANDIDATES = (
    *(str(path) for path in (Path.home() / ".pyenv/versions").glob("3.8.*/bin/python3.8")),
    shutil.which("python3.8"),
)
OLDEST = next((path for path in _CANDIDATES if path and "shims" not in path), None)
"""The oldest Python that the agent promises to run on, where this machine has one."""


class Agent:
    """One run of the agent; as a context manager it is always ended."""

    def __init__(
        self,
        operations: Sequence[Operation],
        state: Path,
        *,
        check: bool = False,
        lock_wait_s: float = 0,
        silence_s: float = 60,
        python: str = "python3",
        secret: str = "secret",  # noqa: S107
        run: str = "",
        magic: str = "",
        environment: Mapping[str, str] | None = None,
    ) -> None:
        order = {
            "run": run or secrets.token_hex(8),
            "who": "process 1 on here",
            "purpose": "tests",
            "check": check,
            "diff": True,
            "lock_wait_s": lock_wait_s,
            "silence_s": silence_s,
            "state_directory": str(state),
            "secrets": [],
        }
        packed = program.packed([encode(operation) for operation in operations])
        self.process = subprocess.Popen(
            [python, *program.ARGUMENTS[1:]],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, "PATH": measured.path(), **(environment or {})},
        )
        assert self.process.stdin
        self.process.stdin.write(program.payload(order, packed, secret.encode()))
        self.process.stdin.flush()
        self.was_sent_the_program = False
        self._first = self._begin(magic)

    def _begin(self, magic: str) -> list[bytes]:
        """Send the program if it is asked for; else what was said in place of that.

        ``magic``: as if its Python had told this number.
        """
        assert self.process.stdin
        assert self.process.stdout
        first = self.process.stdout.readline()
        if first.strip():
            return [first]
        if asked := json.loads(self.process.stdout.readline()).get("program"):
            self.was_sent_the_program = True
            self.process.stdin.write(program.program(magic or asked))
            self.process.stdin.flush()
        return []

    def event(self) -> dict[str, Any]:
        """The next thing it says."""
        assert self.process.stdout
        line = self._first.pop() if self._first else self.process.stdout.readline()
        said: dict[str, Any] = json.loads(line)
        return said

    def until(self, **wanted: Any) -> dict[str, Any]:
        """The first thing it says that has these values."""
        while True:
            said = self.event()
            if all(said.get(name) == value for name, value in wanted.items()):
                return said

    def results(self) -> list[dict[str, Any]]:
        """The outcome of every step, when it has ended by itself."""
        assert self.process.stdout
        assert self.process.stderr
        said = [json.loads(line) for line in (*self._first, *self.process.stdout)]
        assert self.process.wait() == 0, self.process.stderr.read()
        return [each for each in said if "duration_s" in each or "busy" in each]

    def hang_up(self) -> None:
        """What a dropped connection looks like to it."""
        assert self.process.stdin
        self.process.stdin.close()

    def __enter__(self) -> Agent:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.process.stderr):
            if pipe and not pipe.closed:
                pipe.close()
