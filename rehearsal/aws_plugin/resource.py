"""The shape of one entry of the table: what a type is, and how boto3 makes, finds, reads and ends it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rehearsal.aws_plugin.aws import Aws
from rehearsal.aws_plugin.schema import Props

Values = Mapping[str, Any]
"""Properties by their Pulumi names."""


@dataclass(frozen=True)
class Wanted:
    """What a create is asked for."""

    inputs: Values
    """Checked and with defaults; nothing unknown."""
    marker: str
    """Says which create of which resource this is, in 32 hex digits; a repeated create has the same."""
    logical_name: str
    """The resource's name in the program."""
    name_is_generated: bool = False
    """The name is the logical one with a random end: a repeated create has another."""


@dataclass(frozen=True)
class Change:
    """What an update is asked for."""

    old: Values
    """The state before."""
    new: Values
    """The inputs wanted, with defaults."""
    changed: frozenset[str]
    """The properties that differ; empty when an unfinished create is to be finished."""


@dataclass(frozen=True)
class Naming:
    """The property that names a resource for AWS, and what a generated name may be."""

    property: str
    longest: int = 255
    lower_case: bool = False


def _nothing(_aws: Aws, _resource_id: str, _inputs: Values) -> None:
    return None


@dataclass(frozen=True)
class Resource:
    """One type. ``create`` makes it and no more; ``settle`` brings it to use and may be repeated."""

    token: str
    properties: Props
    """What a program may set."""
    outputs: Props
    """What only AWS says."""
    find: Callable[[Aws, Wanted], str | None]
    """The id of what an interrupted create with the same marker left."""
    create: Callable[[Aws, Wanted], str]
    read: Callable[[Aws, str, Values], dict[str, Any] | None]
    """The state by id and last known state; None when it is gone."""
    delete: Callable[[Aws, str, Values], None]
    """Ends it, and returns when it has ended."""
    settle: Callable[[Aws, str, Values], None] = _nothing
    update: Callable[[Aws, str, Change], None] | None = None
    """None: every change replaces."""
    naming: Naming | None = None
    delete_first: bool = False
    """Two of them cannot be at once: a replacement deletes before it creates."""
    moves: frozenset[str] = field(default=frozenset())
    """Outputs that an update changes."""

    @property
    def takes_tags(self) -> bool:
        return "tags" in self.properties


@dataclass(frozen=True)
class Function:
    """One function: its arguments, and what it answers."""

    token: str
    arguments: Props
    call: Callable[[Aws, Values], dict[str, Any]]
