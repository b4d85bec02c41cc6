"""A roll-out on a terminal: one row for each host while it runs, then what came of it."""

from __future__ import annotations

import contextlib
import os
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.constrain import Constrain
from rich.live import Live
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from ansible_like.result import Event, HostResult
from ansible_like.rollout import RolloutResult
from scripts.apply_board import Board, Row, State, fitting
from scripts.apply_text import (
    clean,
    counted,
    counts_of,
    duration,
    error_lines,
    first_line,
    one_line,
    outcome_of,
    status_word,
    verdict,
)

STYLES: Final[dict[State, str]] = {
    "failed": "bold red",
    "running": "cyan",
    "connecting": "cyan",
    "waiting": "dim",
    "interrupted": "magenta",
    "changed": "yellow",
    "ok": "green",
}
"""What is worth most attention comes first, wherever states are counted."""
STEP_STYLES: Final = {"ok": "green", "changed": "yellow", "skipped": "cyan", "failed": "bold red"}
AROUND_ROWS: Final = 4
"""Lines of a screen that are not rows: the title, the heads, what is left out, and the cursor's own."""
HOST_WIDTH: Final = 30
WIDE: Final = 100
"""Columns from which a step's title and its progress both have their place."""
REFRESHES_PER_S: Final = 8


class LiveView:
    """Shows the table until the roll-out has ended; its methods are called from the hosts' threads."""

    def __init__(
        self,
        play: str,
        batches: Sequence[Sequence[str]],
        *,
        check: bool,
        console: Console,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._play, self._batches = play, len(batches)
        self._check = check
        self._console, self._clock = console, clock
        self._board = Board(host for batch in batches for host in batch)
        self._batch = 1
        self._began_s = clock()
        self._ending = False
        self._lock = threading.Lock()
        self._live = Live(
            console=console,
            get_renderable=self.render,
            refresh_per_second=REFRESHES_PER_S,
            transient=True,
            vertical_overflow="crop",
        )

    def __enter__(self) -> Self:
        self._terminal = contextlib.ExitStack()
        self._terminal.enter_context(_unseen_ctrl_c())
        self._terminal.enter_context(self._live)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._terminal.close()

    def batch(self, number: int, hosts: Iterable[str]) -> None:
        with self._lock:
            self._batch = number
            self._board.start(hosts, self._clock())

    def event(self, event: Event) -> None:
        with self._lock:
            self._board.hear(event)
        if event.result and event.result.diff:
            self._console.print(_diff(event, event.result.diff))

    def host(self, result: HostResult) -> None:
        with self._lock:
            self._board.end(result, self._clock())

    def interrupted(self) -> None:
        """Ctrl-C came, and the hosts' runs are being ended."""
        self._ending = True

    def render(self) -> RenderableType:
        with self._lock:
            rows, states = list(self._board.rows.values()), self._board.states()
        now_s = self._clock()
        shown, left_out = fitting(rows, max(1, self._console.height - AROUND_ROWS))
        wide = self._console.width >= WIDE
        table = _rows(shown, now_s, check=self._check, wide=wide)
        parts: list[RenderableType] = [self._title(states, now_s), table]
        if left_out:
            parts.append(Text(f"… and {_states(left_out, self._check)}", "dim", no_wrap=True))
        # a key that is typed at the end of a full line would push the table down
        return Constrain(Group(*parts), self._console.width - 1)

    def _title(self, states: Mapping[State, int], now_s: float) -> Text:
        what = [f"batch {self._batch} of {self._batches}"] if self._batches > 1 else []
        what += ["check, nothing is changed"] if self._check else []
        what += ["ending the runs"] if self._ending else []
        title = Text(one_line(self._play), "bold", no_wrap=True, overflow="ellipsis")
        title.append(f"  {', '.join([*what, duration(now_s - self._began_s)])}  ", "not bold")
        for number, state in enumerate(state for state in STYLES if states.get(state)):
            title.append(", " if number else "", "not bold")
            title.append(f"{states[state]} {status_word(state, self._check)}", f"not bold {STYLES[state]}")
        return title

    def summary(self, result: RolloutResult) -> None:
        """Each host's counts, then each error in full, then the last word."""
        rows = self._board.rows
        table = Table(box=None, pad_edge=False, header_style="dim")
        table.add_column("host", overflow="fold")
        for name in ("ok", status_word("changed", self._check), "skipped", "failed", "time"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("")
        for host, ended in result.hosts.items():
            counts = counts_of(ended)
            outcome = outcome_of(ended)
            styled = (Text(str(n), STEP_STYLES[status] if n else "dim") for status, n in counts.items())
            time_s = Text(duration(rows[host].elapsed_s(0.0)))
            word = Text(status_word(outcome, self._check), STYLES[outcome])
            table.add_row(Text(one_line(host)), *styled, time_s, word)
        for host in result.not_tried:
            table.add_row(Text(one_line(host), "dim"), *[""] * 5, Text("not tried", "dim"))
        self._console.print(table)
        for host, ended in result.hosts.items():
            lines = list(error_lines(ended))
            if lines:
                self._console.print(Text(f"\n{one_line(host)}", STYLES[outcome_of(ended)]))
                self._console.print(Padding(Text("\n".join(lines)), (0, 0, 0, 2)))
        self._console.print()
        for line in verdict(self._play, result, self._check):
            style = "bold red" if result.failed else "bold" if result.exit_code else "bold green"
            self._console.print(Text(line, style))


@contextlib.contextmanager
def _unseen_ctrl_c() -> Iterator[None]:
    """The terminal would write ``^C`` into the table, which is then no longer where it was drawn."""
    try:
        keyboard = sys.stdin.fileno()
        before = termios.tcgetattr(keyboard)
        in_front = os.tcgetpgrp(keyboard) == os.getpgrp()
    except (termios.error, OSError):  # there is no keyboard
        in_front = False
    if not in_front:  # who sets a terminal from the background is stopped
        yield
        return
    changed = [*before]
    changed[3] &= ~termios.ECHOCTL
    termios.tcsetattr(keyboard, termios.TCSANOW, changed)
    try:
        yield
    finally:
        termios.tcsetattr(keyboard, termios.TCSANOW, before)


def _rows(rows: Iterable[Row], now_s: float, *, check: bool, wide: bool) -> Table:
    table = Table(box=None, pad_edge=False, expand=True, header_style="dim")
    table.add_column("host", no_wrap=True, overflow="ellipsis", max_width=HOST_WIDTH)
    table.add_column("step", no_wrap=True, justify="right")
    table.add_column("", no_wrap=True, overflow="ellipsis", ratio=1)
    if wide:
        table.add_column("", no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("status", no_wrap=True)
    table.add_column("time", no_wrap=True, justify="right")
    for row in rows:
        style = STYLES[row.state]
        table.add_row(
            Text(one_line(row.host), style if row.state in ("failed", "waiting") else ""),
            f"{row.index}/{row.total}" if row.total else "",
            *_doing(row, check, wide),
            Text(status_word(row.state, check), style),
            duration(row.elapsed_s(now_s)) if row.state != "waiting" else "",
        )
    return table


def _doing(row: Row, check: bool, wide: bool) -> list[Text]:
    """The step that runs or that ended it, and its last word; of a host that is done what was done there."""
    title, detail = Text(one_line(row.title)), Text(first_line(row.detail), STYLES[row.state])
    if row.state in ("ok", "changed"):
        title, detail = Text(counted(dict(row.counts), check), "dim"), Text()
    return [title, detail] if wide else [detail or title]


def _states(states: Mapping[State, int], check: bool) -> str:
    return ", ".join(f"{states[state]} {status_word(state, check)}" for state in STYLES if states.get(state))


def _diff(event: Event, diff: str) -> Text:
    text = Text.assemble((one_line(event.host), "bold"), f" {one_line(event.title)}\n")
    for line in clean(diff).strip("\n").splitlines():
        text.append(f"  {line}\n", {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], ""))
    return text
