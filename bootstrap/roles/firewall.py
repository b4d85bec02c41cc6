"""The node's own firewall behind the cloud's security groups."""

from ansible_like.operations import Directory, File, Operation, Package, Service
from bootstrap.rendering import render
from bootstrap.specs import NodeSpec


def firewall(spec: NodeSpec) -> list[Operation]:
    """SSH and the API from anywhere the security groups let through; everything from the cluster's range."""
    rules, unit = "/etc/nftables.d/drydock.nft", "/etc/systemd/system/drydock-firewall.service"
    text = render(rules, cluster_cidr=spec.cluster_cidr, ssh_port=spec.ssh_port, api_port=spec.api_port)
    return [
        Package(("nftables",)),
        Directory("/etc/nftables.d"),
        File(rules, text),
        File(unit, render(unit)),
        Service("drydock-firewall.service", running=True, enabled=True, restart_when_changed=(rules, unit)),
    ]
