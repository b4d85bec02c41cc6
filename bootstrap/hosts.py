"""The nodes over SSH: converging them with progress, and one open connection to each for many looks."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import TypeVar

from ansible_like.connection import Connection, Target
from ansible_like.operations import Command, InstanceStore, Mount, Operation, Package, Service, WaitFor
from ansible_like.result import EngineError, Event, HostResult
from ansible_like.runner import apply
from bootstrap.work import Work
from cluster.problems import Failure

T = TypeVar("T")

SLOW = (Command, InstanceStore, Mount, Package, Service, WaitFor)
"""The operations that are worth a line while they run; the others are done before it could be read."""

Connections = Mapping[str, Connection]
"""Open connections by the node's name."""


def converge(hosts: Mapping[Target, Sequence[Operation]], work: Work) -> dict[str, HostResult]:
    """Brings every host to its operations in parallel. Raises Failure that names each host that failed."""

    slow = {
        target.name: {each.title for each in operations if isinstance(each, SLOW)}
        for target, operations in hosts.items()
    }

    def follow(event: Event) -> None:
        work.check()  # from the host's own thread: a cancelled run ends at its next step
        if event.status == "progress" or (event.status == "started" and event.title in slow[event.host]):
            work.say(f"{event.host} {event.index}/{event.total} {event.detail or event.title}")

    results = apply(hosts, connect_deadline_s=work.left_s, on_event=follow)
    errors = [result.error for result in results.values() if result.error]
    if errors:
        raise failure(errors)
    return results


def failure(errors: Sequence[EngineError]) -> Failure:
    """One Failure for what went wrong on one or more hosts, none hidden."""
    what = "\n".join(f"{error.host}: {error.what}" for error in errors)
    return Failure(what, "\n      ".join(dict.fromkeys(error.remedy for error in errors)))


@contextmanager
def connected(targets: Sequence[Target], deadline_s: float) -> Iterator[Connections]:
    """A connection to every target. Raises Failure that names each host that did not answer."""
    with ExitStack() as stack:
        opened, errors = reachable(targets, deadline_s)
        for connection in opened.values():
            stack.enter_context(connection)
        if errors:
            raise failure(errors)
        yield opened


def reachable(
    targets: Sequence[Target], deadline_s: float
) -> tuple[dict[str, Connection], list[EngineError]]:
    """Connections to those that answer (the caller closes them), and why the others did not."""

    def one(target: Target) -> Connection | EngineError:
        try:
            return Connection.open(target, deadline_s)
        except EngineError as error:
            return error

    with ThreadPoolExecutor(max(1, len(targets))) as pool:
        outcomes = list(pool.map(one, targets))
    opened = {each.target.name: each for each in outcomes if isinstance(each, Connection)}
    return opened, [each for each in outcomes if isinstance(each, EngineError)]


def on_each(connections: Connections, look: Callable[[Connection], T]) -> dict[str, T]:
    """What ``look`` returns for every host, by name. Raises Failure that names each host where it failed."""

    def one(connection: Connection) -> T | EngineError:
        try:
            return look(connection)
        except EngineError as error:
            return error

    with ThreadPoolExecutor(max(1, len(connections))) as pool:
        outcomes = dict(zip(connections, pool.map(one, connections.values()), strict=True))
    if errors := [each for each in outcomes.values() if isinstance(each, EngineError)]:
        raise failure(errors)
    return {name: each for name, each in outcomes.items() if not isinstance(each, EngineError)}


def private_address(connection: Connection) -> str:
    """The address from which the node speaks to others: in its subnet, also behind a public address."""
    # An address of documentation: no packet is sent, the kernel only says which way it would go.
    route = connection.run(["ip", "-json", "-4", "route", "get", "192.0.2.1"]).stdout
    return str(json.loads(route)[0]["prefsrc"])
