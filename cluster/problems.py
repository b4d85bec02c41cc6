"""The two ways in which Drydock says no: bad input (exit code 2) and failed work (exit code 1)."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where it stands, what is wrong with it, and the way out."""

    path: str
    """The setting, file or option at fault, e.g. ``drydock:nodes.count`` or ``--port``."""
    what: str
    """What is wrong, with the numbers that show it."""
    remedy: str
    """What the reader does next."""

    def __str__(self) -> str:
        return f"{self.path}: {self.what}\n    → {self.remedy}"


class BadInput(Exception):  # noqa: N818 - the field's word for exit code 2, not an error of ours
    """Input that cannot be used; nothing was changed. Carries every problem found, not just the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        head = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__("\n".join([f"{head}, nothing was changed:", *(f"  {p}" for p in self.problems)]))


class Failure(Exception):  # noqa: N818 - the counterpart of BadInput
    """Work that was begun and failed: what happened, where, and what to do."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what, self.remedy = what, remedy
        super().__init__(f"{what}\n    → {remedy}")
