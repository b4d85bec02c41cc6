"""The host's part of the network: a bridge per VPC that holds the routers' addresses, and kernel settings."""

import json
from collections.abc import Sequence
from ipaddress import IPv4Network
from pathlib import Path

from cluster.problems import Failure
from rehearsal.cloud import places
from rehearsal.cloud.firewall import Network
from rehearsal.cloud.shell import attempt, run

SETTINGS = {
    "net/ipv4/ip_forward": "1",
    # Bridged packets go through the inet hooks, where security groups stand.
    "net/bridge/bridge-nf-call-iptables": "1",
    "net/bridge/bridge-nf-call-ip6tables": "1",
}


def set_kernel() -> None:
    """Sets what the network needs, and keeps on disk how it was found."""
    attempt("modprobe", "br_netfilter")
    absent = [name for name in SETTINGS if not _setting(name).exists()]
    if absent:
        raise Failure(
            f"this kernel has no {', '.join(absent)}: without it security groups do not hold",
            "install the kernel's br_netfilter module (`modprobe br_netfilter`)",
        )
    if not places.HOST_SETTINGS.exists():
        found = {name: _setting(name).read_text().strip() for name in SETTINGS}
        places.HOST_SETTINGS.write_text(json.dumps(found))
    for name, value in SETTINGS.items():
        _setting(name).write_text(value)


def restore_kernel() -> list[str]:
    """Puts the kernel settings back as found; those that were changed."""
    if not places.HOST_SETTINGS.exists():
        return []
    restored = []
    for name, value in json.loads(places.HOST_SETTINGS.read_text()).items():
        if _setting(name).read_text().strip() != value:
            _setting(name).write_text(value)
            restored.append(f"kernel setting {name.replace('/', '.')} back to {value}")
    return restored


def converge(networks: Sequence[Network]) -> None:
    """Makes the bridges and their addresses equal to `networks`."""
    existing = bridges()
    for name in existing.keys() - {n.bridge for n in networks}:
        run("ip", "link", "delete", name)
    for network in networks:
        if network.bridge not in existing:
            run("ip", "link", "add", network.bridge, "type", "bridge")
            run("ip", "link", "set", network.bridge, "alias", places.BRIDGE_ALIAS)
            attempt("sysctl", "-q", "-w", f"net.ipv6.conf.{network.bridge}.disable_ipv6=1")
            run("ip", "link", "set", network.bridge, "up")
        wanted = {f"{router}/{IPv4Network(cidr).prefixlen}" for cidr, router in network.subnets}
        have = existing.get(network.bridge, frozenset())
        for address in wanted - have:
            run("ip", "address", "add", address, "dev", network.bridge)
        for address in have - wanted:
            run("ip", "address", "delete", address, "dev", network.bridge)


def bridges() -> dict[str, frozenset[str]]:
    """Our bridges with their IPv4 addresses (``10.0.0.1/24``)."""
    listed = json.loads(run("ip", "-json", "-details", "address", "show", "type", "bridge") or "[]")
    return {
        link["ifname"]: frozenset(
            f"{a['local']}/{a['prefixlen']}" for a in link["addr_info"] if a["family"] == "inet"
        )
        for link in listed
        if link.get("ifalias") == places.BRIDGE_ALIAS
    }


def remove_bridges() -> list[str]:
    """Removes every bridge of ours; what was removed."""
    return [f"bridge {name}" for name in bridges() if attempt("ip", "link", "delete", name)]


def conflict(cidr: str, vpc_id: str | None) -> str | None:
    """Why a VPC cannot have this range here: a route of the host covers part of it. None if it is free.

    The bridge of `vpc_id` does not count; without one, no bridge of ours does.
    """
    ours = {places.bridge_name(vpc_id)} if vpc_id else bridges().keys()
    wanted = IPv4Network(cidr, strict=False)
    for route in json.loads(run("ip", "-json", "-4", "route", "show") or "[]"):
        if route["dst"] == "default" or route.get("dev") in ours:
            continue
        if IPv4Network(route["dst"], strict=False).overlaps(wanted):
            return (
                f"The range {cidr} overlaps {route['dst']}, which this machine reaches through"
                f" {route.get('dev', '?')}; choose another range (drydock:network.vpcCidr)."
            )
    return None


def name_servers() -> list[str]:
    """What a node can ask names of: the host's own servers, less those on the host's loopback."""
    for path in (Path("/etc/resolv.conf"), Path("/run/systemd/resolve/resolv.conf")):
        if not path.exists():
            continue
        words = [line.split() for line in path.read_text().splitlines()]
        servers = [w[1] for w in words if len(w) > 1 and w[0] == "nameserver" and not w[1].startswith("127.")]
        if servers:
            return servers
    return []


def _setting(name: str) -> Path:
    return Path("/proc/sys") / name
