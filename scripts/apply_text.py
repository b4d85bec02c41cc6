"""What is said of hosts and steps, without control characters and in the same words everywhere."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final, Literal

from ansible_like.result import Event, HostResult, Interrupted
from ansible_like.rollout import RolloutResult

Outcome = Literal["ok", "changed", "failed", "interrupted"]

# a whole sequence of a terminal (CSI, OSC and the like, then any other escape), not just its first byte
SEQUENCES: Final = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)?"
    r"|\x1b[ -/]*[0-~]?"
)
# controls, what turns the direction of writing, and halves of characters, which can't be printed
CONTROLS: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
HALVES: Final = re.compile(r"[\ud800-\udfff]")


def clean(text: str) -> str:
    """Without what would move the cursor, colour or lie on a terminal; tabs and newlines stay."""
    text = SEQUENCES.sub("", text)
    text = re.sub(r"\r+\n|\r+|[\x0b\x0c\x85\u2028\u2029]", "\n", text)
    return HALVES.sub("\ufffd", CONTROLS.sub("", text))


def one_line(text: str) -> str:
    """Clean, and on one line."""
    return " ".join(clean(text).split())


def first_line(text: str) -> str:
    return one_line(next((line for line in clean(text).splitlines() if line.strip()), ""))


def duration(seconds: float) -> str:
    """``0.4 s``, ``12 s``, ``3:05 min``, ``2:03:05 h``."""
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 9.95 else f"{min(seconds, 59):.0f} s"
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


def status_word(status: str, check: bool) -> str:
    """A check changes nothing: it says what a run would change."""
    return "would change" if check and status == "changed" else status


def step_line(event: Event, check: bool) -> str:
    """A step of a host that ended or goes on, without the host."""
    status = "" if event.status == "progress" else f": {status_word(event.status, check)}"
    detail = f": {one_line(event.detail)}" if event.detail else ""
    return f"[{event.index}/{event.total}] {one_line(event.title)}{status}{detail}"


def outcome_of(result: HostResult) -> Outcome:
    if isinstance(result.error, Interrupted):
        return "interrupted"
    if result.failed:
        return "failed"
    return "changed" if result.changed else "ok"


def counts_of(result: HostResult) -> dict[str, int]:
    """How many steps ended how."""
    found = Counter(operation.status for operation in result.operations)
    return {status: found[status] for status in ("ok", "changed", "skipped", "failed")}


def counted(counts: dict[str, int], check: bool) -> str:
    """``3 ok, 1 changed``; what there is none of is left out."""
    shown = (f"{count} {status_word(status, check)}" for status, count in counts.items() if count)
    return ", ".join(shown) or "no step"


def error_lines(result: HostResult) -> Iterator[str]:
    """What happened, where, and what to do, without the host; an interrupted run's remedy is said once."""
    if result.error:
        yield from clean(result.error.what).splitlines()
        if not isinstance(result.error, Interrupted):
            remedy = clean(result.error.remedy).splitlines()
            yield from (f"    {'→' if number == 0 else ' '} {line}" for number, line in enumerate(remedy))


def verdict(play: str, result: RolloutResult, check: bool) -> Iterator[str]:
    """The last words: how many hosts ended how, and what keeps the others from being as wanted."""
    found = Counter(outcome_of(each) for each in result.hosts.values())
    outcomes: tuple[Outcome, ...] = ("ok", "changed", "failed", "interrupted")
    words = [f"{found[outcome]} {status_word(outcome, check)}" for outcome in outcomes if found[outcome]]
    words += [f"{len(result.not_tried)} not tried"] if result.not_tried else []
    total = len(result.hosts) + len(result.not_tried)
    yield f"{one_line(play)}, {total} host{'s' if total > 1 else ''}: {', '.join(words)}"
    if result.interrupted:
        yield "interrupted; run it again: it goes on where it stopped"
    elif result.not_tried:
        yield "more hosts failed than the play allows (max_failures), so no further batch was started"
