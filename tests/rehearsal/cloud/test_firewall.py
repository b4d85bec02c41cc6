"""Security groups as nftables text: the whole table pinned once, each rule's form by itself."""

from pathlib import Path

import pytest

from rehearsal.cloud.firewall import Group, Member, Network, Rule, ruleset

GOLDEN = Path(__file__).parent / "two_nodes.nft"
NETWORK = Network(
    "dd-0123456789ab", "10.77.0.0/16", (("10.77.1.0/24", "10.77.1.1"), ("10.77.2.0/24", "10.77.2.1"))
)
CLUSTER = Group(
    "sg-1",
    ingress=(Rule("-1", group="sg-1"), Rule("tcp", 22, 22, cidr="10.77.1.1/32")),
    egress=(Rule("-1", cidr="0.0.0.0/0"),),
)
STORAGE = Group("sg-2", ingress=(), egress=(Rule("tcp", 443, 443, cidr="0.0.0.0/0"),))
NODES = (
    Member("i-a", "10.77.1.4", ("sg-1",)),
    Member("i-b", "10.77.1.5", ("sg-1", "sg-2")),
)


def chain(text: str, name: str) -> list[str]:
    """The rules of one chain, its closing drop left out."""
    body = text.split(f"  chain {name} {{\n")[1].split("  }\n", maxsplit=1)[0]
    lines = [line.strip() for line in body.splitlines()]
    assert lines[-1] == "drop"
    return lines[:-1]


def rules_in(*rules: Rule) -> list[str]:
    return chain(ruleset([NETWORK], [Group("sg-1", rules, ())], [NODES[0]]), "in_i_a")


def test_whole_table() -> None:
    assert ruleset([NETWORK], [CLUSTER, STORAGE], NODES) == GOLDEN.read_text()


def test_order_of_the_parts_changes_nothing() -> None:
    assert ruleset([NETWORK], [STORAGE, CLUSTER], NODES[::-1]) == ruleset(
        [NETWORK], [CLUSTER, STORAGE], NODES
    )


def test_nothing_runs_and_nothing_is_cut_off() -> None:
    text = ruleset([], [], [])
    assert "set bridges { type ifname;  }" in text
    assert text.index("iifname != @bridges accept") < text.index("drop")


@pytest.mark.parametrize(
    ("rule", "match"),
    [
        (Rule("-1", cidr="0.0.0.0/0"), "accept"),
        (Rule("-1", None, None, cidr="10.0.0.0/8"), "ip saddr 10.0.0.0/8 accept"),
        (Rule("-1", group="sg-9"), "ip saddr @group_sg_9 accept"),
        (Rule("tcp", 22, 22, cidr="0.0.0.0/0"), "tcp dport 22 accept"),
        (Rule("tcp", 8000, 8010, group="sg-9"), "ip saddr @group_sg_9 tcp dport 8000-8010 accept"),
        (Rule("udp", 0, 65535, cidr="0.0.0.0/0"), "meta l4proto udp accept"),
        (Rule("tcp", -1, -1, cidr="0.0.0.0/0"), "meta l4proto tcp accept"),
        (Rule("icmp", -1, -1, cidr="0.0.0.0/0"), "meta l4proto icmp accept"),
        (Rule("icmp", 8, -1, cidr="0.0.0.0/0"), "icmp type 8 accept"),
        (Rule("icmp", 3, 4, cidr="0.0.0.0/0"), "icmp type 3 icmp code 4 accept"),
        (Rule("47", cidr="0.0.0.0/0"), "meta l4proto 47 accept"),
    ],
)
def test_rule(rule: Rule, match: str) -> None:
    assert rules_in(rule) == [match]


def test_a_peer_this_network_has_none_of_opens_nothing() -> None:
    assert rules_in(Rule("tcp", 22, 22)) == []


def test_a_group_that_was_deleted_opens_nothing() -> None:
    assert chain(ruleset([NETWORK], [], [NODES[0]]), "in_i_a") == []


def test_egress_goes_on_to_the_receivers_rules() -> None:
    """An allowed packet returns from the sender's chain; only the receiver's chain accepts."""
    text = ruleset([NETWORK], [STORAGE], [Member("i-b", "10.77.1.5", ("sg-2",))])
    assert chain(text, "out_i_b") == ["tcp dport 443 return"]
    assert chain(text, "in_i_b") == []
