"""What a resource is to the provider: checks, differences and effects over plain Python values."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from bootstrap.properties import is_unknown
from bootstrap.work import Work

Values = dict[str, Any]
"""Properties by their camelCase names; UNKNOWN stands for what a preview does not know yet."""


@dataclass(frozen=True)
class Difference:
    """The properties that changed, and those of them that need another resource instead of an update."""

    changed: tuple[str, ...] = ()
    replaces: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refusal:
    """An input that cannot be used."""

    property: str
    reason: str


class Resource(Protocol):
    """One type of resource. Everything may block; each call has a thread of its own.

    ``planned`` is the preview of both create and update; ``state`` is None for a create.
    ``read`` returns None for a resource that is gone. Effects raise Failure or EngineError.
    """

    @property
    def secrets(self) -> Collection[str]:
        """Properties that are marked as secret wherever they appear."""

    def check(self, inputs: Values) -> tuple[Values, Sequence[Refusal]]: ...
    def difference(self, state: Values, inputs: Values) -> Difference: ...
    def planned(self, inputs: Values, state: Values | None) -> Values: ...
    def create(self, inputs: Values, work: Work) -> tuple[str, Values]: ...
    def update(self, state: Values, inputs: Values, work: Work) -> Values: ...
    def read(self, state: Values) -> Values | None: ...
    def delete(self, state: Values, work: Work) -> None: ...


def refusals(inputs: Values, expected: Mapping[str, type]) -> list[Refusal]:
    """What is missing, unknown or of the wrong type, all at once; a value not known yet may be anything."""
    found = [Refusal(name, "is missing") for name in expected if inputs.get(name) is None]
    found += [Refusal(name, "is no input of this resource") for name in inputs if name not in expected]
    for name, kind in expected.items():
        value = inputs.get(name)
        if value is not None and not is_unknown(value) and not isinstance(value, kind):
            found.append(Refusal(name, f"is {type(value).__name__}, must be {kind.__name__}"))
    return found


def changed(state: Values, inputs: Values, names: Collection[str]) -> tuple[str, ...]:
    """The properties among ``names`` that differ; what is not known yet counts as different."""
    return tuple(name for name in names if is_unknown(inputs[name]) or state.get(name) != inputs[name])
