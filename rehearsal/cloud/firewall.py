"""Security groups as one nftables table: a pure function from values to its text, and its application.

Bridged packets between nodes pass the inet forward hook (bridge-nf-call-iptables), so one table judges
node to node, node to the world, and the host to a node. As on EC2: nothing comes in unless a rule of the
receiver's groups lets it, nothing goes out unless a rule of the sender's groups lets it, answers always pass.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

from rehearsal.cloud import places
from rehearsal.cloud.shell import attempt, run


@dataclass(frozen=True)
class Rule:
    """One permission of a security group."""

    protocol: str
    """``tcp``, ``udp``, ``icmp``, ``-1`` for all, or a protocol's number."""
    first: int | None = None
    """First port, or the ICMP type; None or -1: any."""
    last: int | None = None
    """Last port, or the ICMP code; None or -1: any."""
    cidr: str | None = None
    group: str | None = None
    """The peer is in this range, or a member of this group."""


@dataclass(frozen=True)
class Group:
    group_id: str
    ingress: tuple[Rule, ...]
    egress: tuple[Rule, ...]


@dataclass(frozen=True)
class Member:
    """A running node, as the firewall sees it."""

    instance_id: str
    address: str
    groups: tuple[str, ...]


@dataclass(frozen=True)
class Network:
    """A VPC with its bridge; its subnets as (range, the router's address)."""

    bridge: str
    cidr: str
    subnets: tuple[tuple[str, str], ...]


def ruleset(networks: Sequence[Network], groups: Sequence[Group], members: Sequence[Member]) -> str:
    """The whole table `inet drydock`, as text for ``nft -f``; it replaces what was there in one step."""
    by_id = {group.group_id: group for group in groups}
    lines = [
        f"table inet {places.NFT_TABLE}",
        f"delete table inet {places.NFT_TABLE}",
        f"table inet {places.NFT_TABLE} {{",
        *_sets(networks, groups, members),
        *_address_translation(networks),
        *_hooks(),
        *_dispatch("leaving", "saddr", "out", members),
        *_dispatch("entering", "daddr", "in", members),
    ]
    for member in sorted(members, key=lambda m: m.instance_id):
        mine = [by_id[g] for g in member.groups if g in by_id]
        lines += _chain(
            _name("out", member.instance_id), "return", "daddr", (r for g in mine for r in g.egress)
        )
        lines += _chain(
            _name("in", member.instance_id), "accept", "saddr", (r for g in mine for r in g.ingress)
        )
    return "\n".join([*lines, "}", ""])


def apply(text: str) -> None:
    """Puts the table in force atomically; a refusal by nft leaves the former table and raises `Failure`."""
    run("nft", "-f", "-", stdin=text)


def remove() -> bool:
    """Removes our table and no other; whether there was one."""
    return attempt("nft", "delete", "table", "inet", places.NFT_TABLE)


def _sets(networks: Sequence[Network], groups: Sequence[Group], members: Sequence[Member]) -> Iterator[str]:
    yield from _set("bridges", "ifname", (f'"{n.bridge}"' for n in networks))
    yield from _set("nodes", "ipv4_addr", (m.address for m in members))
    for group in sorted(groups, key=lambda g: g.group_id):
        yield from _set(
            _name("group", group.group_id),
            "ipv4_addr",
            (m.address for m in members if group.group_id in m.groups),
        )


def _address_translation(networks: Sequence[Network]) -> Iterator[str]:
    yield "  chain prerouting {"
    yield "    type nat hook prerouting priority dstnat; policy accept;"
    for network in networks:
        for cidr, router in network.subnets:
            yield (
                f"    ip saddr {cidr} ip daddr {places.METADATA_ADDRESS} tcp dport 80 "
                f"dnat ip to {router}:{places.METADATA_PORT}"
            )
    yield "  }"
    yield "  chain postrouting {"
    yield "    type nat hook postrouting priority srcnat; policy accept;"
    for network in networks:
        whole = IPv4Network(network.cidr, strict=False)
        yield f"    ip saddr {whole} ip daddr != {whole} oifname != @bridges masquerade"
    yield "  }"


def _hooks() -> Iterator[str]:
    ours = f"tcp dport {{ {places.API_PORT}, {places.METADATA_PORT} }}"
    for hook, direction, rules in (
        # The AWS API and the metadata service stand outside security groups, as on EC2.
        (
            "input",
            "iifname",
            [f"ip saddr @nodes {ours} accept", "jump leaving", "icmp type echo-request accept", "drop"],
        ),
        ("output", "oifname", ["jump entering"]),
    ):
        yield f"  chain {hook} {{"
        yield f"    type filter hook {hook} priority filter; policy accept;"
        yield f"    {direction} != @bridges accept"
        yield "    ct state established,related accept"
        yield "    meta nfproto ipv6 drop"
        yield from (f"    {rule}" for rule in rules)
        yield "  }"
    yield "  chain forward {"
    yield "    type filter hook forward priority filter; policy accept;"
    yield "    iifname != @bridges oifname != @bridges accept"
    yield "    ct state established,related accept"
    yield "    meta nfproto ipv6 drop"
    yield "    iifname @bridges jump leaving"
    yield "    oifname @bridges jump entering"
    yield "  }"


def _dispatch(chain: str, side: str, prefix: str, members: Sequence[Member]) -> Iterator[str]:
    """Sends a packet to its node's own chain; an address that no node has is nobody's to use."""
    yield f"  chain {chain} {{"
    yield f"    ip {side} != @nodes drop"
    if members:
        jumps = ", ".join(
            f"{m.address} : jump {_name(prefix, m.instance_id)}"
            for m in sorted(members, key=lambda m: m.instance_id)
        )
        yield f"    ip {side} vmap {{ {jumps} }}"
    yield "  }"


def _chain(name: str, verdict: str, peer: str, rules: Iterable[Rule]) -> Iterator[str]:
    yield f"  chain {name} {{"
    matches = {f"    {match}{verdict}" for rule in rules if (match := _match(rule, peer)) is not None}
    yield from sorted(matches)
    yield "    drop"
    yield "  }"


def _match(rule: Rule, peer: str) -> str | None:
    """The rule's nftables match with a space behind it; None for a peer this network has none of (IPv6)."""
    if rule.group:
        where = f"ip {peer} @{_name('group', rule.group)} "
    elif rule.cidr:
        network = IPv4Network(rule.cidr, strict=False)
        where = "" if network.prefixlen == 0 else f"ip {peer} {network} "
    else:
        return None
    return where + _what(rule)


def _what(rule: Rule) -> str:
    everything = rule.first in (None, -1)
    if rule.protocol == "-1":
        return ""
    if rule.protocol == "icmp":
        code = "" if rule.last in (None, -1) else f" icmp code {rule.last}"
        return "meta l4proto icmp " if everything else f"icmp type {rule.first}{code} "
    if rule.protocol not in ("tcp", "udp") or everything or (rule.first, rule.last) == (0, 65535):
        return f"meta l4proto {rule.protocol} "
    ports = rule.first if rule.first == rule.last else f"{rule.first}-{rule.last}"
    return f"{rule.protocol} dport {ports} "


def _set(name: str, kind: str, elements: Iterable[str]) -> Iterator[str]:
    listed = ", ".join(sorted(set(elements)))
    body = f"elements = {{ {listed} }}" if listed else ""
    yield f"  set {name} {{ type {kind}; {body} }}"


def _name(prefix: str, resource_id: str) -> str:
    """nftables' identifiers take no hyphen."""
    return f"{prefix}_{resource_id.replace('-', '_')}"
