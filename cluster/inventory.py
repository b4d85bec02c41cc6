"""The nodes of a stack that is up, as its `inventory` output tells them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Host:
    """One node: where it is and the SSH host keys ("ssh-ed25519 AAAA…") it must show."""

    name: str
    rank: int
    instance_id: str
    address: str
    user: str
    host_keys: tuple[str, ...]


def hosts_from_output(output: Sequence[Mapping[str, object]]) -> tuple[Host, ...]:
    """The hosts in the order of their rank; KeyError or TypeError where the output is of another program."""
    hosts = [
        Host(
            name=str(row["name"]),
            rank=int(str(row["rank"]).split(".")[0]),
            instance_id=str(row["instanceId"]),
            address=str(row["address"]),
            user=str(row["user"]),
            host_keys=tuple(str(key) for key in _list(row["hostKeys"])),
        )
        for row in output
    ]
    return tuple(sorted(hosts, key=lambda host: host.rank))


def _list(value: object) -> Sequence[object]:
    if isinstance(value, list | tuple):
        return value
    raise TypeError(f"hostKeys is {type(value).__name__}, not a list")
