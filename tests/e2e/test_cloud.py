"""The local cloud for real: nodes that boot, rules that hold, a daemon that may die, nothing left in the end.

The tests share one cloud with two nodes and run in the order of this file; the last ones take it down.
"""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest

from cluster.problems import BadInput
from rehearsal import audit, cloud
from rehearsal.cloud import cgroups, machine, places

pytestmark = pytest.mark.e2e

BOOT_TAKES_S = 60.0
MARKS = ("mount", "link", "address", "route", "nft rule", "loop device", "kernel setting", "state")
"""Kinds of the machine's audit that only the cloud changes; processes are looked at by name below."""


def until(what: str, holds: Callable[..., Any], *arguments: Any, within_s: float = BOOT_TAKES_S) -> Any:
    """Asks again until the answer is true, and gives it; fails by name when it takes too long."""
    deadline = time.monotonic() + within_s
    while not (answer := holds(*arguments)):
        assert time.monotonic() < deadline, f"{what}: not within {within_s:.0f} s"
        time.sleep(0.05)
    return answer


def marks() -> dict[str, frozenset[str]]:
    found = {kind: lines for kind, lines in audit.machine().items() if kind in MARKS}
    nspawn = [
        p.read_bytes().decode() for p in _command_lines() if str(places.CLOUD) in p.read_bytes().decode()
    ]
    folders = [str(p) for p in Path("/run/systemd/nspawn/propagate").glob("i-*")]
    groups = [str(p) for p in Path("/sys/fs/cgroup").glob("**/drydock-i-*")]
    return {
        **found,
        "node": frozenset(nspawn),
        "folder": frozenset(folders),
        "control group": frozenset(groups),
    }


def _command_lines() -> Iterator[Path]:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if path.read_bytes().startswith(b"systemd-nspawn"):
                yield path
        except OSError:  # it ended meanwhile
            continue


@dataclass
class Two:
    """Two nodes in one subnet and one security group, which lets in the controller's SSH and nothing else."""

    ec2: Any
    iam: Any
    key: Path
    group: str = ""
    subnet: str = ""
    vpc: str = ""
    image: str = ""
    ids: list[str] = field(default_factory=list)
    addresses: list[str] = field(default_factory=list)
    known_hosts: Path = Path()
    launched: float = 0.0

    def ssh(self, node: int, command: str) -> subprocess.CompletedProcess[str]:
        options = {
            "UserKnownHostsFile": self.known_hosts,
            "StrictHostKeyChecking": "yes" if self.known_hosts.exists() else "no",
            "ConnectTimeout": 2,
            "LogLevel": "ERROR",
            "BatchMode": "yes",
        }
        flags = [flag for name, value in options.items() for flag in ("-o", f"{name}={value}")]
        argv = ["ssh", "-i", str(self.key), *flags, f"ubuntu@{self.addresses[node]}", command]
        return subprocess.run(argv, capture_output=True, text=True, check=False)

    def says(self, node: int, command: str) -> str:
        done = self.ssh(node, command)
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout.strip()

    def answers(self, node: int) -> bool:
        return self.ssh(node, "true").returncode == 0

    def reaches(self, port: int) -> bool:
        """Whether the first node gets an answer from the second on this port."""
        return self.ssh(0, f"curl -s -m 1 -o /dev/null http://{self.addresses[1]}:{port}/").returncode == 0

    def serves(self, port: int) -> bool:
        """Whether something on the second node answers there itself."""
        return self.ssh(1, f"curl -s -o /dev/null localhost:{port}").returncode == 0

    def metadata(self, node: int, path: str) -> str:
        base = "http://169.254.169.254/latest"
        token = f"curl -sf -m 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' {base}/api/token"
        return self.says(node, f'curl -sf -m 5 -H "X-aws-ec2-metadata-token: $({token})" {base}/{path}')

    def state(self, node: int) -> str:
        found = self.ec2.describe_instances(InstanceIds=[self.ids[node]])["Reservations"][0]["Instances"][0]
        return str(found["State"]["Name"])

    def is_in(self, node: int, state: str) -> bool:
        return self.state(node) == state

    def boot_id(self, node: int) -> str:
        return self.says(node, "cat /proc/1/stat | cut -d' ' -f22")


@pytest.fixture(scope="module")
def before() -> dict[str, frozenset[str]]:
    cloud.stop()
    return marks()


@pytest.fixture(scope="module")
def two(before: dict[str, frozenset[str]], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    folder = tmp_path_factory.mktemp("two")
    cloud.start()
    try:
        yield launch(folder)
    finally:
        cloud.stop()


def launch(folder: Path) -> Two:
    key = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    two = Two(client("ec2"), client("iam"), key, known_hosts=folder / "known_hosts")
    two.vpc = two.ec2.create_vpc(CidrBlock="10.78.0.0/16")["Vpc"]["VpcId"]
    two.subnet = two.ec2.create_subnet(VpcId=two.vpc, CidrBlock="10.78.1.0/24")["Subnet"]["SubnetId"]
    two.group = two.ec2.create_security_group(GroupName="g", Description="g", VpcId=two.vpc)["GroupId"]
    ssh = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "10.78.1.1/32"}]}
    two.ec2.authorize_security_group_ingress(GroupId=two.group, IpPermissions=[ssh])
    two.ec2.import_key_pair(KeyName="k", PublicKeyMaterial=key.with_suffix(".pub").read_bytes())
    two.iam.create_role(RoleName="node", AssumeRolePolicyDocument="{}")
    two.iam.create_instance_profile(InstanceProfileName="node")
    two.iam.add_role_to_instance_profile(InstanceProfileName="node", RoleName="node")
    parameter = client("ssm").get_parameter(Name="/drydock/rehearsal/ami-id")
    two.image = parameter["Parameter"]["Value"]
    two.launched = time.monotonic()
    launched = two.ec2.run_instances(
        ImageId=two.image,
        InstanceType="g6.12xlarge",  # a type with local disks
        MinCount=2,
        MaxCount=2,
        KeyName="k",
        SubnetId=two.subnet,
        SecurityGroupIds=[two.group],
        IamInstanceProfile={"Name": "node"},
        UserData="#cloud-config\nwrite_files:\n- {path: /etc/from-user-data, content: hello}\n",
        BlockDeviceMappings=[
            {"DeviceName": "/dev/sda1", "Ebs": {"VolumeSize": 12}},
            {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 2, "DeleteOnTermination": True}},
        ],
    )["Instances"]
    two.ids = [i["InstanceId"] for i in launched]
    two.addresses = [i["PrivateIpAddress"] for i in launched]
    return two


def client(service: str) -> Any:
    variables = cloud.environment()
    return boto3.client(  # type: ignore[call-overload]
        service,
        variables["AWS_REGION"],
        endpoint_url=variables["AWS_ENDPOINT_URL"],
        aws_access_key_id=variables["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=variables["AWS_SECRET_ACCESS_KEY"],
    )


def test_two_nodes_boot_and_the_console_tells_their_keys(two: Two) -> None:
    def keys(instance_id: str) -> list[str]:
        output = two.ec2.get_console_output(InstanceId=instance_id).get("Output", "")
        block = output.partition("-----BEGIN SSH HOST KEY KEYS-----")[2].partition("-----END")[0]
        return [line.strip() for line in block.splitlines() if "ssh-ed25519" in line]

    found = {i: until(f"host keys of node {i}", keys, two.ids[i]) for i in (0, 1)}
    pinned = [f"{two.addresses[i]} {' '.join(lines[-1].split()[:2])}\n" for i, lines in found.items()]
    two.known_hosts.write_text("".join(pinned))
    for node in (0, 1):
        until(f"SSH on node {node}", two.answers, node)
    assert time.monotonic() - two.launched < 30  # measured: 3 to 5 s
    for node in (0, 1):
        assert two.says(node, "cloud-init status --wait").endswith("done")
        assert two.says(node, "cat /etc/from-user-data") == "hello"
        assert two.says(node, "hostname") == f"ip-{two.addresses[node].replace('.', '-')}"
        assert two.says(node, "sudo -n id -u") == "0"
        assert two.says(node, "systemctl --failed --no-legend | wc -l") == "0"
        assert two.state(node) == "running"


def test_each_node_has_control_groups_of_its_own_in_every_hierarchy_of_systemd(two: Two) -> None:
    if Path("/run/systemd/system").exists():
        pytest.skip("the machine's systemd gives each node a scope")
    for instance_id, nspawn in machine.nspawns():
        (init,) = Path(f"/proc/{nspawn}/task/{nspawn}/children").read_text().split()
        joined = [line.split(":", 2) for line in Path(f"/proc/{init}/cgroup").read_text().splitlines()]
        paths = [path for number, controllers, path in joined if controllers in ("", "name=systemd")]
        assert len(paths) == len(cgroups.hierarchies())
        assert [instance_id in path for path in paths] == [True] * len(paths), paths
    assert {instance_id for instance_id, _ in machine.nspawns()} == set(two.ids)


def test_services_of_one_node_are_not_the_others(two: Two) -> None:
    two.says(0, "sudo systemd-run --unit=only-here sleep 600")
    assert two.says(0, "systemctl is-active only-here") == "active"
    assert two.ssh(1, "systemctl is-active only-here").stdout.strip() == "inactive"
    assert two.says(
        1, "sudo systemd-run --unit=only-here sleep 600; sudo systemctl stop only-here; echo done"
    )
    assert two.says(0, "systemctl is-active only-here") == "active"


def test_nothing_passes_between_nodes_unless_a_rule_says_so(two: Two) -> None:
    for port in (8000, 8001):
        two.says(1, f"sudo systemd-run --unit=web-{port} python3 -m http.server {port}")
        until(
            "the server",
            two.serves,
            port,
        )
    assert not two.reaches(8000)

    one_port = {"IpProtocol": "tcp", "FromPort": 8000, "ToPort": 8000}
    permission = [{**one_port, "IpRanges": [{"CidrIp": f"{two.addresses[0]}/32"}]}]
    two.ec2.authorize_security_group_ingress(GroupId=two.group, IpPermissions=permission)
    until("port 8000", two.reaches, 8000, within_s=5)
    assert not two.reaches(8001)
    two.ec2.revoke_security_group_ingress(GroupId=two.group, IpPermissions=permission)
    until("port 8000 closed", lambda: not two.reaches(8000), within_s=5)


def test_a_group_may_let_itself_in_and_its_way_out_counts_too(two: Two) -> None:
    itself = [{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": two.group}]}]
    everywhere = [{"IpProtocol": "-1", "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    two.ec2.authorize_security_group_ingress(GroupId=two.group, IpPermissions=itself)
    until("all ports", lambda: two.reaches(8000) and two.reaches(8001), within_s=5)
    assert two.ssh(0, f"ping -c 1 -W 1 {two.addresses[1]}").returncode == 0

    two.ec2.revoke_security_group_egress(GroupId=two.group, IpPermissions=everywhere)
    until("egress closed", lambda: not two.reaches(8000), within_s=5)
    two.ec2.authorize_security_group_egress(GroupId=two.group, IpPermissions=itself)
    until("egress to the group", two.reaches, 8000, within_s=5)
    two.ec2.authorize_security_group_egress(GroupId=two.group, IpPermissions=everywhere)


def test_the_controller_comes_in_by_ssh_only_and_nodes_do_not_reach_the_host(two: Two) -> None:
    with pytest.raises(httpx.ConnectTimeout):
        httpx.get(f"http://{two.addresses[1]}:8000/", timeout=1, trust_env=False)
    refused = two.ssh(0, "timeout 1 bash -c '</dev/tcp/10.78.1.1/22'")
    assert refused.returncode == 124  # dropped, not refused


def test_metadata_needs_a_token_and_gives_working_credentials(two: Two) -> None:
    code = "curl -s -m 5 -o /dev/null -w '%{http_code}' http://169.254.169.254/latest/meta-data/instance-id"
    assert two.says(0, code) == "401"
    assert two.metadata(0, "meta-data/instance-id") == two.ids[0]
    assert two.metadata(1, "meta-data/instance-id") == two.ids[1]
    found = json.loads(two.metadata(0, "meta-data/iam/security-credentials/node"))
    session = boto3.Session(found["AccessKeyId"], found["SecretAccessKey"], found["Token"], places.REGION)
    arn = session.client("sts", endpoint_url=places.ENDPOINT).get_caller_identity()["Arn"]
    assert arn.endswith(f"assumed-role/node/{two.ids[0]}")


def test_a_node_finds_the_api_by_its_environment(two: Two) -> None:
    assert (
        two.says(0, "curl -s -m 5 -o /dev/null -w '%{http_code}' $AWS_ENDPOINT_URL/_drydock/status") == "200"
    )


def test_disks_have_their_size_and_names(two: Two) -> None:
    sizes = {
        path: int(two.says(0, f"sudo blockdev --getsize64 {path}")) / 2**30
        for path in ("/dev/sdf", "/dev/nvme1n1", "/dev/nvme4n1")
    }
    assert sizes == {"/dev/sdf": 2, "/dev/nvme1n1": 1, "/dev/nvme4n1": 1}
    root_gib = int(two.says(0, "df --output=size --block-size=1 / | tail -1")) / 2**30
    assert 11 < root_gib <= 12
    two.says(
        0, "sudo mkfs.ext4 -q /dev/sdf && sudo mount /dev/sdf /mnt && echo kept | sudo tee /mnt/file && sync"
    )
    links = two.says(0, "ls /dev/disk/by-id")
    assert links.count("Instance_Storage") == 4
    assert links.count("Elastic_Block_Store") == 1


def test_a_second_cloud_is_refused(two: Two) -> None:
    with pytest.raises(BadInput, match=f"one runs already: pid {cloud.status().pid}, since "):
        cloud.start()


def test_a_killed_daemon_comes_back_to_its_running_nodes(two: Two) -> None:
    booted = [two.boot_id(node) for node in (0, 1)]
    os.kill(cloud.status().pid or 0, signal.SIGKILL)
    until("the end of the daemon", lambda: cloud.status().pid is None, within_s=10)
    assert two.answers(0)

    cloud.start()
    assert [two.state(node) for node in (0, 1)] == ["running", "running"]
    assert [two.boot_id(node) for node in (0, 1)] == booted
    assert two.metadata(1, "meta-data/instance-id") == two.ids[1]
    assert two.reaches(8000)


def test_reboot(two: Two) -> None:
    booted = two.boot_id(1)
    two.ec2.reboot_instances(InstanceIds=[two.ids[1]])
    until("another boot", lambda: two.answers(1) and two.boot_id(1) != booted)
    assert two.state(1) == "running"


def test_stop_and_start_keep_the_volumes_and_lose_the_instance_store(two: Two) -> None:
    two.says(0, "echo gone | sudo dd of=/dev/nvme1n1 conv=fsync status=none")
    two.ec2.stop_instances(InstanceIds=[two.ids[0]])
    until("stopped", two.is_in, 0, "stopped")
    assert not two.answers(0)
    two.ec2.start_instances(InstanceIds=[two.ids[0]])
    until("running", two.is_in, 0, "running")
    until("SSH", two.answers, 0)
    assert two.says(0, "sudo mount /dev/sdf /mnt && cat /mnt/file") == "kept"
    assert two.says(0, "cat /etc/from-user-data") == "hello"
    assert two.says(0, "sudo head -c 4 /dev/nvme1n1 | tr -d '\\0'") == ""


def test_a_node_that_powers_itself_off_is_stopped(two: Two) -> None:
    two.ssh(1, "sudo systemctl poweroff")
    until("stopped", two.is_in, 1, "stopped")
    found = two.ec2.describe_instances(InstanceIds=[two.ids[1]])["Reservations"][0]["Instances"][0]
    assert found["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"


def test_a_range_of_the_hosts_own_is_refused(two: Two) -> None:
    route = next(line.split()[0] for line in audit.machine()["route"] if "/" in line and "dd-" not in line)
    with pytest.raises(two.ec2.exceptions.ClientError, match=r"InvalidVpc\.Range.*drydock:network\.vpcCidr"):
        two.ec2.create_vpc(CidrBlock=route)


def test_termination_leaves_nothing_of_the_instances(two: Two) -> None:
    two.ec2.terminate_instances(InstanceIds=two.ids)
    for node in (0, 1):
        until("terminated", two.is_in, node, "terminated")
    assert two.ec2.describe_volumes()["Volumes"] == []
    assert two.ec2.describe_network_interfaces()["NetworkInterfaces"] == []
    until("files gone", lambda: not any([*places.MACHINES.iterdir(), *places.VOLUMES.iterdir()]), within_s=5)
    until(
        "bridge gone",
        lambda: not [link for link in audit.machine()["link"] if link.startswith("dd-")],
        within_s=5,
    )
    two.ec2.delete_security_group(GroupId=two.group)
    two.ec2.delete_subnet(SubnetId=two.subnet)
    two.ec2.delete_vpc(VpcId=two.vpc)


@pytest.mark.parametrize("daemon", ["alive", "dead", "dead and its records lost"])
def test_stop_removes_everything(daemon: str, before: dict[str, frozenset[str]], tmp_path: Path) -> None:
    cloud.stop()
    cloud.start()
    again = launch(tmp_path)
    until("running", lambda: again.state(0) == again.state(1) == "running")
    if daemon != "alive":
        os.kill(cloud.status().pid or 0, signal.SIGKILL)
    if daemon.endswith("lost"):
        for record in places.MACHINES.glob("*/process.json"):
            os.kill(json.loads(record.read_text())["pid"], signal.SIGKILL)
            record.unlink()
    removed = cloud.stop()
    assert {f"node {i}" for i in again.ids} <= set(removed)
    assert audit.left_over(before, marks()) == {}
    assert cloud.stop() == []


def test_without_machines_instances_are_listed_and_nothing_else_happens(
    before: dict[str, frozenset[str]], tmp_path: Path
) -> None:
    cloud.stop()
    cloud.start(boot=False)
    try:
        listed = launch(tmp_path)
        assert listed.state(0) == "running"
        left = audit.left_over(before, marks())
        assert set(left) == {"state"}
    finally:
        cloud.stop()
