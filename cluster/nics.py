"""The network interfaces of a node, fixed at launch: which card, which device, EFA or not."""

from dataclasses import dataclass
from typing import Literal

from cluster.catalog import InstanceType

InterfaceType = Literal["interface", "efa", "efa-only"]


@dataclass(frozen=True)
class Nic:
    """One interface; only ``interface`` and ``efa`` have an IP address."""

    card: int
    device: int
    kind: InterfaceType


def nics(instance_type: InstanceType) -> tuple[Nic, ...]:
    """The interfaces that give a node all its EFA bandwidth; empty = one ordinary interface, EC2's default.

    Card 0, device 0 is the primary: it needs an address, so it is never efa-only.
    """
    if instance_type.nic_layout == "ordinary":
        return ()
    cards = range(1, instance_type.network_cards)
    match instance_type.nic_layout:
        case "efa-every-fourth":  # more addresses, so that ordinary traffic too has 100 Gbit/s a card
            return (Nic(0, 0, "efa"), *(Nic(i, 1, "efa-only" if i % 4 else "efa") for i in cards))
        case "ena-then-efa":  # card 0 of these types has no EFA
            return (Nic(0, 0, "interface"), *(Nic(i, 1, "efa-only") for i in cards))
        case _:
            return (Nic(0, 0, "efa"), *(Nic(i, 1, "efa-only") for i in cards))
