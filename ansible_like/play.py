"""Plays: what hosts become, in roles, and in which batches; compiled to plain operations."""

from __future__ import annotations

import difflib
import fnmatch
import graphlib
import traceback
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from ansible_like.connection import Target
from ansible_like.operations import KINDS, Command, Operation, Service, names_of, references_of
from ansible_like.problems import Problem, over_hosts, problems_of

V = TypeVar("V")
V_co = TypeVar("V_co", covariant=True)
V_contra = TypeVar("V_contra", contravariant=True)


@dataclass(frozen=True)
class NoVariables:
    """The variables of a play that has none."""


@dataclass(frozen=True)
class Host(Generic[V_co]):
    """A host and its own values of the play's variables."""

    target: Target
    variables: V_co

    @property
    def name(self) -> str:
        return self.target.name


@dataclass(frozen=True)
class Percent:
    """A share of the play's hosts, above 0 and up to 100; rounded down."""

    value: float

    def of(self, total: int) -> int:
        return int(total * self.value / 100)


@dataclass(frozen=True)
class Role(Generic[V_contra]):
    """Operations under one name, the same on every host or a function of the host.

    ``after`` names roles that must be done before; ``notify`` names handlers to run when one of the
    operations changed.
    """

    name: str
    operations: Sequence[Operation] | Callable[[Host[V_contra]], Sequence[Operation]]
    tags: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    notify: tuple[str, ...] = ()


@dataclass(frozen=True)
class Handler:
    """What is done once, after all roles, when a role that notifies it changed, or had in a killed run.

    A Service is led to its state in any case, and restarted when a role changed.
    """

    name: str
    operation: Command | Service


@dataclass(frozen=True)
class Play(Generic[V]):
    """Roles in their written order, unless ``after`` says otherwise, on hosts with variables of one type.

    ``serial``: how many hosts at once; of several sizes the last one repeats; empty: all hosts at once.
    ``max_failures``: how many hosts may fail in all; with one more, no further batch starts.
    """

    name: str
    variables: type[V]
    roles: Sequence[Role[V]]
    handlers: Sequence[Handler] = ()
    serial: tuple[int | Percent, ...] = ()
    max_failures: int | Percent = 0


Batch = Mapping[Target, Sequence[Operation]]


@dataclass(frozen=True)
class Rollout:
    """A compiled play: the batches, one after the other, and how many hosts may fail."""

    name: str
    batches: tuple[Batch, ...]
    max_failures: int


class PlayRefused(Exception):  # noqa: N818 - named for what happened, as in result.py
    """The play can't be used as it is written; carries every problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))


def compile_play(
    play: Play[V], hosts: Sequence[Host[V]], *, tags: Collection[str] = (), limit: Collection[str] = ()
) -> Rollout:
    """The batches of the hosts that ``limit`` (names and globs) leaves, with the operations of each.

    With ``tags``, only roles that carry one of them, and what these depend on by ``after`` or by a reference
    to an operation. Raises PlayRefused with everything that is wrong.
    """
    problems = [*_problems_of_play(play), *_wrong_tags(play, tags), *_wrong_limits(hosts, limit)]
    if problems:
        raise PlayRefused(problems)
    chosen = [host for host in hosts if not limit or any(_matches(host, pattern) for pattern in limit)]
    found: list[tuple[str, Problem]] = []
    compiled: dict[Target, Sequence[Operation]] = {}
    for host in chosen:
        of_host: list[Problem] = []
        compiled[host.target] = _operations(play, host, tags, of_host)
        found += [(host.name, problem) for problem in of_host or problems_of(compiled[host.target])]
    if found:
        raise PlayRefused(over_hosts(found))
    targets = list(compiled)
    batches: list[Batch] = []
    for size in _sizes(play.serial, len(targets)):
        batches.append({target: compiled[target] for target in targets[:size]})
        del targets[:size]
    allowed = play.max_failures
    return Rollout(
        play.name, tuple(batches), allowed.of(len(chosen)) if isinstance(allowed, Percent) else allowed
    )


def _problems_of_play(play: Play[Any]) -> list[Problem]:
    """What is wrong in a play, whatever its hosts."""
    roles, handlers = [role.name for role in play.roles], [handler.name for handler in play.handlers]
    problems = [
        Problem(f"{kind} {name}", "stands there twice", "Give each its own name.")
        for kind, names in (("role", roles), ("handler", handlers))
        for name in dict.fromkeys(name for name in names if names.count(name) > 1)
    ]
    if not roles:
        problems.append(Problem("roles", "the play has none", "Give it at least one Role."))
    for role in play.roles:
        for field, known in (("tags", None), ("after", roles), ("notify", handlers)):
            names = getattr(role, field)
            if isinstance(names, str):
                problems.append(
                    Problem(
                        f"role {role.name}: {field}", "is one text", f"Write ({names!r},), with the comma."
                    )
                )
            elif known is not None:
                problems += [
                    _unknown(f"role {role.name}: {field}", n, known) for n in names if n not in known
                ]
    notified = {name for role in play.roles for name in role.notify}
    problems += [
        Problem(f"handler {name}", "no role notifies it", "Name it in a role's `notify`, or remove it.")
        for name in handlers
        if name not in notified
    ]
    return [*problems, *_cycles(play.roles), *_wrong_numbers(play)]


def _wrong_numbers(play: Play[Any]) -> Iterator[Problem]:
    for size in play.serial if isinstance(play.serial, tuple) else (play.serial,):
        if not _is_share(size, 1):
            yield Problem("serial", f"{size!r} is no size of a batch", "Give e.g. (1, Percent(25)).")
    if not isinstance(play.serial, tuple):
        yield Problem("serial", f"{play.serial!r} is no tuple", f"Write ({play.serial!r},), with the comma.")
    if not _is_share(play.max_failures, 0):
        yield Problem(
            "max_failures", f"{play.max_failures!r} is no number of hosts", "Give e.g. 1 or Percent(10)."
        )


def _is_share(value: object, least: int) -> bool:
    if isinstance(value, Percent):
        return 0 < value.value <= 100
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def _cycles(roles: Sequence[Role[Any]]) -> Iterator[Problem]:
    names = {role.name for role in roles}
    graph = {role.name: set(role.after) & names for role in roles if not isinstance(role.after, str)}
    while True:
        try:
            graphlib.TopologicalSorter(graph).prepare()
        except graphlib.CycleError as found:
            cycle = found.args[1]
            yield Problem(
                f"role {cycle[0]}", f"waits for itself: {' before '.join(cycle)}", "Remove one `after`."
            )
            graph = {name: after - set(cycle) for name, after in graph.items() if name not in cycle}
        else:
            return


def _wrong_tags(play: Play[Any], tags: Collection[str]) -> list[Problem]:
    known = sorted({tag for role in play.roles for tag in role.tags})
    return [_unknown("--tags", tag, known) for tag in tags if tag not in known]


def _wrong_limits(hosts: Sequence[Host[Any]], limit: Collection[str]) -> list[Problem]:
    names = [host.name for host in hosts]
    return [
        _unknown("--limit", pattern, names)
        for pattern in limit
        if not any(_matches(host, pattern) for host in hosts)
    ]


def _unknown(where: str, name: str, known: Sequence[str]) -> Problem:
    near = difflib.get_close_matches(name, known, n=1)
    shown = ", ".join(known[:10]) + (", …" if len(known) > 10 else "") or "none"
    return Problem(
        where, f"there is no {name!r}", f"Did you mean {near[0]!r}?" if near else f"There are: {shown}."
    )


def _matches(host: Host[Any], pattern: str) -> bool:
    return fnmatch.fnmatchcase(host.name, pattern)


def _operations(
    play: Play[V], host: Host[V], tags: Collection[str], found: list[Problem]
) -> tuple[Operation, ...]:
    """The operations of one host in order; what is wrong with them goes to ``found``."""
    roles = _ordered(play.roles)
    given = {role.name: _given(role, host, found) for role in roles}
    kept = _kept(roles, given, tags)
    operations = [operation for role in roles if role.name in kept for operation in given[role.name]]
    for handler in play.handlers:
        notifying = (role for role in roles if role.name in kept and handler.name in role.notify)
        titles = tuple(operation.title for role in notifying for operation in given[role.name])
        if titles:
            operations.append(_when_changed(handler.operation, titles))
    return tuple(operations)


def _given(role: Role[V], host: Host[V], found: list[Problem]) -> tuple[Operation, ...]:
    try:
        given = tuple(role.operations(host) if callable(role.operations) else role.operations)
    except PlayRefused as refusal:
        found += refusal.problems
        return ()
    except Exception as error:  # noqa: BLE001 - the play's own code, which may raise anything
        at = traceback.extract_tb(error.__traceback__)[-1]
        what = f"{type(error).__name__}: {error} ({at.filename}:{at.lineno})"
        found.append(Problem(f"role {role.name}", what, "Correct it in the play."))
        return ()
    strange = [each for each in given if type(each) not in KINDS.values()]
    found += [
        Problem(f"role {role.name}", f"{type(each).__name__} is no operation", "Give operations.")
        for each in strange
    ]
    return () if strange else given


def _when_changed(operation: Command | Service, titles: tuple[str, ...]) -> Operation:
    if isinstance(operation, Service):
        return replace(operation, restart_when_changed=(*operation.restart_when_changed, *titles))
    return replace(operation, when_changed=(*operation.when_changed, *titles))


def _ordered(roles: Sequence[Role[V]]) -> list[Role[V]]:
    """The written order, in which a role waits for those that it comes after; there is no cycle."""
    waiting, done = list(roles), dict[str, Role[V]]()
    while waiting:
        ready = next(role for role in waiting if done.keys() >= set(role.after))
        waiting.remove(ready)
        done[ready.name] = ready
    return list(done.values())


def _kept(
    roles: Sequence[Role[Any]], given: Mapping[str, Sequence[Operation]], tags: Collection[str]
) -> set[str]:
    """The roles that carry one of the tags, and all that they depend on; without tags all."""
    if not tags:
        return set(given)
    needs = {role.name: {*role.after} for role in roles}
    makers: dict[str, set[str]] = {}
    for role in roles:
        for operation in given[role.name]:
            for reference in references_of(operation):
                needs[role.name] |= makers.get(reference, set())
            for name in names_of(operation):
                makers.setdefault(name, set()).add(role.name)
    kept: set[str] = set()
    wanted = [role.name for role in roles if set(tags) & set(role.tags)]
    while wanted:
        name = wanted.pop()
        if name not in kept:
            kept.add(name)
            wanted += needs[name]
    return kept


def _sizes(serial: Sequence[int | Percent], total: int) -> Iterator[int]:
    """The sizes of the batches; a share is at least one host, and the last size repeats."""
    left, at = total, 0
    while left:
        size = serial[min(at, len(serial) - 1)] if serial else total
        count = min(left, max(1, size.of(total)) if isinstance(size, Percent) else size)
        yield count
        left, at = left - count, at + 1
