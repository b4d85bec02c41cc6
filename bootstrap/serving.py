"""Brings a replica up over its nodes until it answers rightly, and takes it down again."""

import dataclasses
from collections.abc import Mapping, Sequence

from ansible_like.connection import Target
from bootstrap.drain import drain
from bootstrap.hosts import Connections, connected, converge, on_each, private_address, reachable
from bootstrap.readiness import Blocked, Endpoint, ask, is_healthy
from bootstrap.replica import (
    API_KEY_FILE,
    ENVIRONMENT_FILE,
    UNITS,
    head_of,
    replica_digest,
    replica_operations,
    unit_of,
    unit_path,
)
from bootstrap.specs import ReplicaNode, ReplicaSpec
from bootstrap.units import (
    UnitState,
    blocked_text,
    blocked_ways,
    headline,
    last_words,
    refuse_blocked_ways,
    running_digest,
    start_all,
    states,
)
from bootstrap.work import Work
from cluster.problems import Failure

POLL_S = 1.0
SAY_EVERY_S = 5.0
STOP_S = 120.0
DRAIN_S = 60.0
GONE_S = 10.0
"""How long a host that may be gone is given to answer before it is taken for gone."""
BLOCKED_TRIES = 3


def targets_of(nodes: Sequence[ReplicaNode], private_key: str) -> list[Target]:
    """The nodes as SSH targets, in the order given."""
    return [Target(each.name, each.address, each.user, private_key, each.host_keys) for each in nodes]


def endpoint_of(spec: ReplicaSpec, nodes: Sequence[ReplicaNode]) -> Endpoint:
    return Endpoint(head_of(nodes).address, spec.port)


def serve(
    spec: ReplicaSpec, nodes: Sequence[ReplicaNode], *, private_key: str, api_key: str, work: Work
) -> None:
    """Converges every node, starts vLLM anew where it is not what it should be, and waits for its answer.

    Raises Failure that names the host, its unit's last words, and any port and peer that is blocked.
    """
    targets = targets_of(nodes, private_key)
    with connected(targets, work.left_s) as connections:
        addresses = on_each(connections, private_address)
        if len(nodes) > 1:
            work.step("trying the ways between the nodes")
            refuse_blocked_ways(connections, addresses, spec.master_port)
        wanted = replica_digest(spec, nodes, api_key)
        head_address = addresses[head_of(nodes).name]
        operations = {
            target: replica_operations(
                spec, dataclasses.replace(node, address=addresses[node.name]), head_address, api_key, wanted
            )
            for target, node in zip(targets, nodes, strict=True)
        }
        converge(operations, work)
        if must_start(states(connections, nodes), on_each(connections, running_digest), wanted):
            drain(endpoint_of(spec, nodes), work, DRAIN_S)
            work.step(f"starting vLLM on {len(nodes)} nodes")
            start_all(connections, nodes, STOP_S)
        _Watch(spec, nodes, connections, addresses, api_key, work).until_ready()


def must_start(found: Mapping[str, UnitState], digests: Mapping[str, str], wanted: str) -> bool:
    """Whether any node's unit is down, or runs with other settings than those wanted."""
    return any(state.active != "active" for state in found.values()) or set(digests.values()) != {wanted}


@dataclasses.dataclass
class _Watch:
    """Waits for a replica's first right answer with an eye on every node's unit."""

    spec: ReplicaSpec
    nodes: Sequence[ReplicaNode]
    connections: Connections
    addresses: Mapping[str, str]
    api_key: str
    work: Work
    blocked: int = 0

    def until_ready(self) -> None:
        """Returns at the first right answer. Raises Failure as soon as waiting cannot help any more."""
        endpoint, next_word_s = endpoint_of(self.spec, self.nodes), 0.0
        while True:
            found = states(self.connections, self.nodes)
            if faults := {name: state.fault for name, state in found.items() if state.fault}:
                raise self._failed(faults)
            if self._is_healthy(endpoint):
                self.work.step("asking the readiness question")
                if (answer := ask(endpoint, self.spec, self.api_key, self.work.left_s)) is not None:
                    self.work.step(f"ready: {self.spec.model} answers {answer.strip()!r}")
                    return
            if self.work.left_s <= 0:
                raise self._failed({head_of(self.nodes).name: "did not answer within its deadline"})
            if self.work.elapsed_s >= next_word_s:
                next_word_s = self.work.elapsed_s + SAY_EVERY_S
                self.work.step(f"waiting for vLLM, {self.work.elapsed_s:.0f} s: {self._head_says(found)}")
            self.work.pause(POLL_S)

    def _is_healthy(self, endpoint: Endpoint) -> bool:
        try:
            healthy = is_healthy(endpoint)
        except Blocked as error:
            self.blocked += 1
            if self.blocked >= BLOCKED_TRIES:
                raise Failure(
                    f"nothing answers at {endpoint.root}, though the node answers to SSH: packets get lost",
                    "add this machine's address to drydock:access.apiCidrs",
                ) from error
            return False
        self.blocked = 0
        return healthy

    def _head_says(self, found: Mapping[str, UnitState]) -> str:
        head = head_of(self.nodes)
        invocation = found[head.name].invocation
        return headline(last_words(self.connections[head.name], unit_of(head.rank), invocation))

    def _failed(self, faults: Mapping[str, str]) -> Failure:
        """The faults, what blocks the ways between the nodes, and each faulty unit's last words."""
        parts = blocked_text(
            blocked_ways(self.connections, self.addresses, self.spec.master_port), self.addresses
        )
        for node in self.nodes:
            if node.name in faults:
                unit = unit_of(node.rank)
                words = "\n".join(
                    f"      {line}" for line in last_words(self.connections[node.name], unit).splitlines()
                )
                parts.append(
                    f"{node.name} ({node.address}): {unit} {faults[node.name]} after "
                    f"{self.work.elapsed_s:.0f} s; its last words:\n{words}"
                )
        return Failure("\n".join(parts), "mend what the last words say, then run `pulumi up` again")


def retire(spec: ReplicaSpec, nodes: Sequence[ReplicaNode], *, private_key: str, work: Work) -> None:
    """Drains the replica, stops it and removes its files. A node that is gone needs nothing; it is told."""
    drain(endpoint_of(spec, nodes), work, DRAIN_S)
    remove(nodes, private_key, work)


def remove(nodes: Sequence[ReplicaNode], private_key: str, work: Work) -> None:
    """Stops vLLM's units on the nodes that answer and removes their files."""
    opened, errors = reachable(targets_of(nodes, private_key), GONE_S)
    for error in errors:
        work.say(f"left as it is: {error.host}: {error.what}")
    paths = " ".join([*map(unit_path, UNITS), ENVIRONMENT_FILE, API_KEY_FILE])
    units = " ".join(UNITS)
    script = (
        f"systemctl disable --quiet --now {units} 2>/dev/null; rm -f {paths}; systemctl daemon-reload; "
        f"systemctl reset-failed {units} 2>/dev/null || true"
    )
    try:
        work.step(f"stopping vLLM on {len(opened)} nodes")
        on_each(opened, lambda connection: connection.run(script, sudo=True, deadline_s=STOP_S))
    finally:
        for connection in opened.values():
            connection.close()
