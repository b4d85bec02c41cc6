"""Where every host of a roll-out stands; what the views show."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final, Literal

from ansible_like.result import Event, HostResult
from scripts.apply_text import Outcome, counts_of, error_lines, outcome_of

State = Literal["waiting", "connecting", "running"] | Outcome

ACTIVE: Final = ("connecting", "running")


@dataclass(frozen=True)
class Row:
    """One host: its state, its last step, and since when it works (seconds of the caller's clock)."""

    host: str
    state: State = "waiting"
    began_s: float = 0.0
    ended_s: float | None = None
    index: int = 0
    total: int = 0
    title: str = ""
    detail: str = ""
    """The last progress of a step, or the first line of an error."""
    counts: tuple[tuple[str, int], ...] = ()

    def elapsed_s(self, now_s: float) -> float:
        return (self.ended_s if self.ended_s is not None else now_s) - self.began_s


class Board:
    """The rows of all hosts in their order, brought forward by what the roll-out tells."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self.rows = {host: Row(host) for host in hosts}

    def start(self, hosts: Iterable[str], now_s: float) -> None:
        for host in hosts:
            self.rows[host] = replace(self.rows[host], state="connecting", began_s=now_s)

    def hear(self, event: Event) -> None:
        detail = event.detail if event.status in ("progress", "failed") else ""
        if event.status == "failed" and event.result and event.result.stdout_tail.strip():
            # what a command said last tells more than how it was called
            detail = event.result.stdout_tail.strip().splitlines()[-1]
        self.rows[event.host] = replace(
            self.rows[event.host],
            state="running",
            index=event.index,
            total=event.total,
            title=event.title,
            detail=detail,
        )

    def end(self, result: HostResult, now_s: float) -> None:
        row = self.rows[result.host]
        # the error of a step that failed repeats its title; the step's own reason stands there already
        stepped = any(operation.status == "failed" for operation in result.operations)
        self.rows[result.host] = replace(
            row,
            state=outcome_of(result),
            ended_s=now_s,
            detail=row.detail if stepped else next(error_lines(result), ""),
            counts=tuple(counts_of(result).items()),
        )

    def states(self) -> Counter[State]:
        return Counter(row.state for row in self.rows.values())


def fitting(rows: Iterable[Row], space: int) -> tuple[list[Row], Counter[State]]:
    """The rows for which there is space, in their order, and how many of which state are left out.

    Failed and active hosts come first; neither may drive out all of the other.
    """
    rows = list(rows)
    if len(rows) <= space:
        return rows, Counter()
    failed = [row for row in rows if row.state == "failed"]
    active = [row for row in rows if row.state in ACTIVE]
    others = [row for row in rows if row.state != "failed" and row.state not in ACTIVE]
    for_failed = max((space + 1) // 2, space - len(active))
    # who has worked longest is most worth seeing, and who has just begun is known
    active.sort(key=lambda row: (row.state != "running", row.began_s))
    others.sort(key=lambda row: -(row.ended_s or 0.0))
    chosen = [*failed[:for_failed], *active][:space]
    chosen = [*chosen, *others[: space - len(chosen)]]
    kept = {row.host for row in chosen}
    return [row for row in rows if row.host in kept], Counter(
        row.state for row in rows if row.host not in kept
    )
