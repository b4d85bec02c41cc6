"""What should run, from what moto lists; and the steps that lead there."""

import pytest

from rehearsal.cloud import instances
from rehearsal.cloud.ec2 import CloudEC2Backend
from rehearsal.cloud.firewall import Rule
from rehearsal.cloud.instances import Disk, Step
from rehearsal.cloud.machine import seed_files
from rehearsal.cloud.reconciler import cloud_backends
from tests.rehearsal.cloud.conftest import Account

TABLE = {
    # state: (node runs, it does not, it does not and nothing is on disk)
    "pending": (Step.MARK_RUNNING, Step.START, Step.START),
    "running": (None, Step.MARK_STOPPED, Step.MARK_STOPPED),
    "stopping": (Step.HALT, Step.MARK_STOPPED, Step.MARK_STOPPED),
    "stopped": (Step.HALT, None, None),
    "shutting-down": (Step.HALT, Step.MARK_TERMINATED, Step.MARK_TERMINATED),
    "terminated": (Step.HALT, Step.DISCARD, None),
}


@pytest.mark.parametrize("state", TABLE)
def test_step(state: str) -> None:
    found = tuple(
        instances.step(state, process_alive=alive, on_disk=on_disk, reboot_wanted=False)
        for alive, on_disk in ((True, True), (False, True), (False, False))
    )
    assert found == TABLE[state]


def test_only_a_running_node_reboots() -> None:
    rebooting = {
        state: instances.step(state, process_alive=True, on_disk=True, reboot_wanted=True) for state in TABLE
    }
    assert [state for state, step in rebooting.items() if step is Step.REBOOT] == ["running"]


def test_machine(account: Account) -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAICXhO4RNhjOqklrCObOzQ/IfAkvIhILSJ/ZcvVo4pF3o me"
    account.ec2.import_key_pair(KeyName="key", PublicKeyMaterial=key.encode())
    disk = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 3}}
    launched = account.run(
        InstanceType="g6e.12xlarge", KeyName="key", UserData="#cloud-config\n", BlockDeviceMappings=[disk]
    )[0]
    machine = instances.machine(account.instance(launched["InstanceId"]))

    assert machine.address == "10.77.1.4"
    assert (machine.prefix, machine.router) == (24, "10.77.1.1")
    assert machine.bridge == f"dd-{account.vpc[-12:]}"
    assert len(machine.bridge) <= 15
    assert machine.hostname == "ip-10-77-1-4"
    assert machine.public_key == key
    assert machine.user_data == b"#cloud-config\n"
    assert machine.root.size_gib == 8
    assert [(d.path, d.size_gib) for d in machine.data_disks] == [
        ("/dev/sdf", 3),
        ("/dev/nvme1n1", 1),
        ("/dev/nvme2n1", 1),
    ]
    assert all(d.link.startswith("/dev/disk/by-id/nvme-Amazon_E") for d in machine.data_disks)
    assert len({d.link for d in machine.data_disks}) == 3


def test_a_key_pair_deleted_since_is_no_error(account: Account) -> None:
    account.ec2.create_key_pair(KeyName="key")
    launched = account.run(KeyName="key")[0]
    account.ec2.delete_key_pair(KeyName="key")
    assert instances.machine(account.instance(launched["InstanceId"])).public_key == ""


@pytest.mark.parametrize(("kind", "count"), [("m7i.xlarge", 0), ("p5.4xlarge", 1), ("p5.48xlarge", 8)])
def test_instance_store_has_as_many_disks_as_aws_says(kind: str, count: int) -> None:
    disks = list(instances.instance_store("i-0123456789abcdef0", kind))
    assert len(disks) == count
    assert len({d.volume_id for d in disks}) == count


def test_the_firewall_sees_what_runs(account: Account) -> None:
    group = account.ec2.create_security_group(GroupName="g", Description="g", VpcId=account.vpc)["GroupId"]
    ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.0.0.0/8"}]}
    itself = {"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": group}]}
    account.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[ssh, itself])
    running, stopped = account.run(2, SecurityGroupIds=[group])
    account.instance(stopped["InstanceId"]).stop()

    backends: list[CloudEC2Backend] = list(cloud_backends())
    (member,) = instances.members(backends)
    assert (member.instance_id, member.address, member.groups) == (
        running["InstanceId"],
        "10.77.1.4",
        (group,),
    )
    found = next(g for g in instances.groups(backends) if g.group_id == group)
    assert found.ingress == (Rule("tcp", 22, 22, cidr="10.0.0.0/8"), Rule("-1", group=group))
    assert found.egress == (Rule("-1", cidr="0.0.0.0/0"),)
    (network,) = instances.networks(backends)
    assert (network.cidr, network.subnets) == ("10.77.0.0/16", (("10.77.1.0/24", "10.77.1.1"),))

    account.instance(running["InstanceId"]).terminate()
    assert instances.networks(backends) == []


def test_seed() -> None:
    machine = instances.Machine(
        instance_id="i-1",
        address="10.77.1.4",
        prefix=24,
        router="10.77.1.1",
        bridge="dd-1",
        hostname="ip-10-77-1-4",
        public_key="ssh-ed25519 AAAA me",
        user_data=b"\x1f\x8b binary",
        root=Disk("vol-1", 8, "/dev/sda1", ""),
        data_disks=(),
    )
    assert seed_files(machine) == {
        "meta-data": b'{"instance-id": "i-1", "local-hostname": "ip-10-77-1-4", '
        b'"public-keys": ["ssh-ed25519 AAAA me"]}',
        "network-config": b'{"version": 2, "ethernets": {"host0": {"addresses": ["10.77.1.4/24"], "routes": '
        b'[{"to": "0.0.0.0/0", "via": "10.77.1.1"}], "accept-ra": false, "link-local": []}}}',
        "user-data": b"\x1f\x8b binary",
    }
