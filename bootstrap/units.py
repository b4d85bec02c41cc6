"""The state of vLLM's units on the nodes, what blocks their way to each other, and their last words."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ansible_like.connection import Connection
from bootstrap.hosts import Connections, on_each
from bootstrap.replica import RUNNING_ENVIRONMENT, unit_of
from bootstrap.specs import ReplicaNode
from cluster.problems import Failure

JOURNAL_LINES = 40
NCCL_PORT = 45000
"""Stands for the ephemeral ports on which NCCL and gloo listen."""

HEADLINE_CHARACTERS = 100
_VLLM_LINE = re.compile(r"(?:\(\w+ pid=\d+\) )?(?:INFO|WARNING|ERROR) [\d-]+ [\d:]+ \[[^\]]+\] (\S.*)")
_PROPERTIES = ("ActiveState", "SubState", "Result", "ExecMainStatus", "NRestarts", "InvocationID")


@dataclass(frozen=True)
class UnitState:
    """What systemd says of a unit."""

    active: str
    sub: str
    result: str
    exit_status: str
    restarts: int
    invocation: str

    @property
    def fault(self) -> str:
        """Why the unit will not come up by waiting; empty while it may."""
        if self.active == "failed":
            return f"failed ({self.result}, exit status {self.exit_status})"
        if self.restarts or self.sub == "auto-restart":
            return f"ended by itself and was restarted ({self.result}, exit status {self.exit_status})"
        return "" if self.active in ("active", "activating") else self.active


def parse_state(shown: str) -> UnitState:
    """The output of ``systemctl show`` for the properties above."""
    values = dict(line.split("=", 1) for line in shown.splitlines() if "=" in line)
    restarts = int(values.get("NRestarts") or 0)
    return UnitState(
        active=values.get("ActiveState", "unknown"),
        sub=values.get("SubState", ""),
        result=values.get("Result", ""),
        exit_status=values.get("ExecMainStatus", ""),
        restarts=restarts,
        invocation=values.get("InvocationID", ""),
    )


def state_of(connection: Connection, unit: str) -> UnitState:
    return parse_state(
        connection.run(["systemctl", "show", f"--property={','.join(_PROPERTIES)}", unit]).stdout
    )


def states(connections: Connections, nodes: Sequence[ReplicaNode]) -> dict[str, UnitState]:
    """The state of each node's unit, by the node's name."""
    units = {node.name: unit_of(node.rank) for node in nodes}
    return on_each(connections, lambda connection: state_of(connection, units[connection.target.name]))


def running_digest(connection: Connection) -> str:
    """The replica's digest that the running unit was started with; empty if none runs."""
    script = f"sed -n 's/^DRYDOCK_DIGEST=\"\\(.*\\)\"$/\\1/p' {RUNNING_ENVIRONMENT} 2>/dev/null || true"
    return connection.run(script, sudo=True).stdout.strip()


def start_all(connections: Connections, nodes: Sequence[ReplicaNode], deadline_s: float) -> None:
    """Starts the units anew on every node: one engine spans them, so none may stay from before."""
    stop = "systemctl stop {0}; systemctl daemon-reload; systemctl reset-failed {0} 2>/dev/null || true"
    units = {node.name: unit_of(node.rank) for node in nodes}

    def run(script: str) -> None:
        on_each(
            connections,
            lambda each: each.run(script.format(units[each.target.name]), sudo=True, deadline_s=deadline_s),
        )

    run(stop)
    run("systemctl enable --quiet {0} && systemctl start {0}")


def headline(journal: str) -> str:
    """The last thing that vLLM itself said, without time and place; the rest is noise to who waits."""
    lines = [match.group(1) for match in map(_VLLM_LINE.match, journal.splitlines()) if match]
    return lines[-1][:HEADLINE_CHARACTERS] if lines else "the engine is starting"


def last_words(connection: Connection, unit: str, invocation: str = "") -> str:
    """The end of the unit's journal; with ``invocation``, of that one start of it only."""
    argv = ["journalctl", "--no-pager", "--output=cat", f"--lines={JOURNAL_LINES}"]
    which = f"_SYSTEMD_INVOCATION_ID={invocation}" if invocation else f"--unit={unit}"
    return connection.run([*argv, which], sudo=True).stdout.strip()


def blocked_ways(
    connections: Connections, addresses: Mapping[str, str], master_port: int
) -> list[tuple[str, str, int]]:
    """Each (from, to, port) where a node gets no answer at all; addresses are private, by name."""

    def probe(connection: Connection) -> list[tuple[str, int]]:
        peers = [address for name, address in addresses.items() if name != connection.target.name]
        if not peers:
            return []
        argv = ["/opt/drydock/bin/check-peers", f"{master_port},{NCCL_PORT}", *peers]
        lines = connection.run(argv).stdout.splitlines()
        return [(address, int(port)) for address, port in (line.split() for line in lines)]

    names = {address: name for name, address in addresses.items()}
    found = on_each(connections, probe)
    return [(name, names[address], port) for name, ways in found.items() for address, port in ways]


def blocked_text(ways: Sequence[tuple[str, str, int]], addresses: Mapping[str, str]) -> list[str]:
    """One line for each blocked way, with names, addresses and the port."""
    return [
        f"{source} ({addresses[source]}) cannot reach {peer} ({addresses[peer]}):{port}"
        for source, peer, port in ways
    ]


def refuse_blocked_ways(connections: Connections, addresses: Mapping[str, str], master_port: int) -> None:
    """Raises Failure that names every blocked port and peer."""
    if lines := blocked_text(blocked_ways(connections, addresses, master_port), addresses):
        raise Failure(
            "\n".join(lines),
            "the cluster's security group must allow all traffic from and to itself: torch.distributed "
            f"meets on port {master_port}, NCCL and gloo use the ephemeral ports",
        )
