"""Interfaces per type: as many EFA as the type has, a primary with an address, one a card."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.catalog import InstanceType, instance_types
from cluster.nics import Nic, nics

EFA_TYPES = [kind for kind in instance_types().values() if kind.efa_interfaces]


@given(st.sampled_from(EFA_TYPES))
def test_every_card_has_one_interface_and_every_efa_is_used(kind: InstanceType) -> None:
    layout = nics(kind)
    assert [nic.card for nic in layout] == list(range(kind.network_cards))
    assert sum(nic.kind != "interface" for nic in layout) == kind.efa_interfaces
    assert layout[0].device == 0
    assert layout[0].kind != "efa-only"
    assert all(nic.device == 1 for nic in layout[1:])


def test_a_type_without_efa_needs_no_layout() -> None:
    assert nics(instance_types()["m7i.xlarge"]) == ()


@pytest.mark.parametrize(
    ("name", "interface", "efa", "efa_only"),
    [
        ("p4d.24xlarge", 0, 1, 3),
        ("p5.48xlarge", 0, 8, 24),
        ("p5e.48xlarge", 0, 8, 24),
        ("p5en.48xlarge", 0, 1, 15),
        ("p6-b300.48xlarge", 1, 0, 16),
    ],
)
def test_the_kinds_of_each_family(name: str, interface: int, efa: int, efa_only: int) -> None:
    kinds = [nic.kind for nic in nics(instance_types()[name])]
    assert [kinds.count(kind) for kind in ("interface", "efa", "efa-only")] == [interface, efa, efa_only]


def test_every_fourth_card_of_a_p5_has_an_address() -> None:
    layout = nics(instance_types()["p5.48xlarge"])
    assert layout[:5] == (
        Nic(0, 0, "efa"),
        Nic(1, 1, "efa-only"),
        Nic(2, 1, "efa-only"),
        Nic(3, 1, "efa-only"),
        Nic(4, 1, "efa"),
    )
