"""The rehearsal's local cloud: a real AWS API whose instances are machines that really boot."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass

import httpx

from cluster.problems import BadInput, Failure, Problem
from rehearsal.cloud import places
from rehearsal.cloud.lock import holder
from rehearsal.paths import REPO

TOOLS = {
    "systemd-nspawn": "systemd-container",
    "nft": "nftables",
    "ip": "iproute2",
    "losetup": "mount",
    "mkfs.ext4": "e2fsprogs",
}
"""Program → Debian package."""

FREE_GIB = 5
_MODE = places.CLOUD / "mode"


@dataclass(frozen=True)
class CloudInfo:
    """A running cloud."""

    endpoint: str
    pid: int
    boots: bool


@dataclass(frozen=True)
class InstanceStatus:
    instance_id: str
    name: str
    instance_type: str
    state: str
    address: str | None
    reason: str


@dataclass(frozen=True)
class CloudStatus:
    """`pid` is None and the rest empty where no cloud runs."""

    pid: int | None
    since: str = ""
    endpoint: str = places.ENDPOINT
    boots: bool = False
    instances: tuple[InstanceStatus, ...] = ()

    def __str__(self) -> str:
        if self.pid is None:
            return "no cloud runs"
        kind = "instances boot" if self.boots else "instances are only listed"
        rows = [
            f"{i.instance_id}  {i.state:13}  {i.address or '-':15}  {i.instance_type:15}  {i.name} {i.reason}"
            for i in self.instances
        ]
        head = f"the cloud runs: pid {self.pid}, since {self.since}, at {self.endpoint}; {kind}"
        return "\n".join([head, *(row.rstrip() for row in rows)])


def start(boot: bool = True) -> CloudInfo:
    """Starts the cloud, or takes over what a killed daemon left; returns when the API answers.

    With `boot` False instances are listed as running at once and no node boots. Raises `BadInput` where this
    machine cannot run it, `Failure` where the daemon did not come up.
    """
    problems = list(_problems(boot))
    if problems:
        raise BadInput(problems)
    command = [sys.executable, "-m", "rehearsal.cloud.daemon"]
    if boot:
        from rehearsal import image  # noqa: PLC0415 - as in _no_image

        command += ["--image", str(image.root())]
    places.CLOUD.mkdir(parents=True, exist_ok=True)
    _MODE.write_text(_mode(boot))
    read, write = os.pipe()
    with os.fdopen(read) as answer, places.LOG.open("a") as log:
        try:
            subprocess.Popen(
                [*command, "--ready", str(write)],
                cwd=REPO,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=[write],
                start_new_session=True,
            )
        finally:
            os.close(write)
        told = json.loads(answer.read() or "{}")  # ends with the line, or with the daemon
    if "pid" not in told:
        last = "\n".join(places.LOG.read_text().splitlines()[-5:])
        raise Failure(
            f"the local cloud did not come up: {told.get('error', last)}",
            f"see {places.LOG}; `drydock rehearsal stop` clears away what it began",
        )
    return CloudInfo(places.ENDPOINT, told["pid"], boot)


def stop() -> list[str]:
    """Removes everything of the cloud, whatever state it is in; a line for each thing that was there. Raises
    `BadInput` without root where there is something only root can remove."""
    from rehearsal.cloud.sweep import sweep  # noqa: PLC0415 - brings moto, which takes seconds to import

    if os.geteuid() != 0 and places.MACHINES.exists():
        raise BadInput([Problem("user", "the cloud's nodes belong to root", "run it with sudo")])
    return sweep()


def status() -> CloudStatus:
    """What runs now, from the daemon itself."""
    try:
        told = (
            httpx.get(f"{places.ENDPOINT}/_drydock/status", timeout=30, trust_env=False)
            .raise_for_status()
            .json()
        )
    except httpx.HTTPError:
        return CloudStatus(pid=None)
    instances = tuple(InstanceStatus(**instance) for instance in told.pop("instances"))
    return CloudStatus(**told, instances=instances)


def environment() -> dict[str, str]:
    """What an AWS client needs to speak to this cloud and to no other. The keys open nothing."""
    return {
        "AWS_ENDPOINT_URL": places.ENDPOINT,
        "AWS_ACCESS_KEY_ID": "rehearsal",
        "AWS_SECRET_ACCESS_KEY": "rehearsal",
        "AWS_REGION": places.REGION,
        "AWS_DEFAULT_REGION": places.REGION,
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _problems(boot: bool) -> Iterator[Problem]:
    if not sys.platform.startswith("linux"):
        yield Problem(
            "platform", f"this is {sys.platform}; nodes are Linux containers", "use a Linux machine or VM"
        )
        return
    if boot and os.geteuid() != 0:
        yield Problem("user", "not root: nodes need mounts, bridges and nftables", "run it with sudo")
    if boot:
        missing = {tool: package for tool, package in TOOLS.items() if shutil.which(tool) is None}
        for tool, package in missing.items():
            yield Problem(tool, "not installed", f"apt-get install {package}, or run scripts/setup")
        yield from _no_image()
        yield from _closed_chains()
    yield from _held_already(boot)
    yield from _too_full()


def _no_image() -> Iterator[Problem]:
    from rehearsal import image  # noqa: PLC0415 - only a cloud that boots nodes needs one

    try:
        image.verify()
    except Failure as failure:
        yield Problem("image", failure.what, failure.remedy)


def _closed_chains() -> Iterator[Problem]:
    """Docker and ufw set iptables to drop what they don't know; the nodes' packets go through it too."""
    if shutil.which("iptables") is None:
        return
    ours = f"{places.BRIDGE_PREFIX}+"
    for chain, directions in (("FORWARD", "io"), ("INPUT", "i")):
        rules = subprocess.run(["iptables", "-S", chain], capture_output=True, text=True, check=False).stdout
        if f"-P {chain} DROP" in rules and ours not in rules:
            yield Problem(
                f"iptables {chain}",
                "its policy is DROP, which would cut nodes off from each other and from the AWS API",
                "; ".join(f"iptables -I {chain} -{d} {ours} -j ACCEPT" for d in directions),
            )


def _held_already(boot: bool) -> Iterator[Problem]:
    if running := holder():
        yield Problem(
            "cloud",
            f"one runs already: pid {running.pid}, since {running.since}",
            "use it, or end it with `drydock rehearsal stop`; there can be one on a machine",
        )
        return
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", places.API_PORT))
        except OSError:
            yield Problem(
                f"port {places.API_PORT}",
                f"taken by {_port_holder(places.API_PORT)}",
                "end that program; the cloud's API needs this port",
            )
    if _MODE.exists() and _MODE.read_text() != _mode(boot):
        yield Problem(
            "cloud",
            f"the one left here by a killed daemon had {_MODE.read_text()}, and {_mode(boot)} is asked for",
            "run `drydock rehearsal stop` first",
        )


def _mode(boot: bool) -> str:
    return "nodes that boot" if boot else "instances that are only listed"


def _too_full() -> Iterator[Problem]:
    folder = next(path for path in (places.CLOUD, *places.CLOUD.parents) if path.exists())
    free = shutil.disk_usage(folder).free / 2**30
    if free < FREE_GIB:
        yield Problem(
            str(folder),
            f"{free:.1f} GiB free, {FREE_GIB} GiB needed for nodes and volumes",
            "make room, or set DRYDOCK_STATE to a folder on a larger disk",
        )


def _port_holder(port: int) -> str:
    listed = subprocess.run(
        ["ss", "--no-header", "--listening", "--tcp", "--numeric", "--processes", f"sport = :{port}"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    found = [line.rpartition('users:(("')[2].split('"') for line in listed.splitlines() if "users:" in line]
    return "another program" if not found else f"{found[0][0]} ({found[0][1].strip(',').split(',')[0]})"
