"""The `inventory` output, read back."""

import pytest

from cluster.inventory import Host, hosts_from_output

ROW = {
    "name": "node-1",
    "rank": 1.0,  # Pulumi's numbers are all floats
    "instanceId": "i-1",
    "address": "10.77.1.5",
    "user": "ubuntu",
    "hostKeys": ["ssh-ed25519 AAAA"],
}


def test_hosts_come_in_the_order_of_their_ranks() -> None:
    head = ROW | {"name": "node-0", "rank": 0, "address": "10.77.1.4"}
    hosts = hosts_from_output([ROW, head])
    assert hosts[1] == Host("node-1", 1, "i-1", "10.77.1.5", "ubuntu", ("ssh-ed25519 AAAA",))
    assert [host.rank for host in hosts] == [0, 1]


def test_an_output_of_another_program_is_refused() -> None:
    with pytest.raises(KeyError, match="instanceId"):
        hosts_from_output([{key: ROW[key] for key in ("name", "rank")}])
    with pytest.raises(TypeError, match="hostKeys"):
        hosts_from_output([ROW | {"hostKeys": "ssh-ed25519 AAAA"}])
