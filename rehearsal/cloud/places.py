"""Where the local cloud lives: its folder, ports, addresses and the names it uses on the host."""

from pathlib import Path

from rehearsal.paths import STATE

CLOUD = STATE / "cloud"
"""Everything the cloud keeps on disk; gone after `stop`."""

LOCK = STATE / "cloud.lock"
"""Held by the running daemon; holds its pid and start time."""

LOG = CLOUD / "daemon.log"
MACHINES = CLOUD / "machines"
VOLUMES = CLOUD / "volumes"
SNAPSHOT = CLOUD / "backends"
HOST_SETTINGS = CLOUD / "host-settings.json"

API_PORT = 4566
"""AWS API, on loopback and on each subnet's router address."""

METADATA_PORT = 4580
"""Instance metadata, on each subnet's router address; nodes reach it as 169.254.169.254:80."""

METADATA_ADDRESS = "169.254.169.254"
ENDPOINT = f"http://127.0.0.1:{API_PORT}"
REGION = "us-east-1"
ACCOUNT = "123456789012"
"""moto's account; there is one."""

BRIDGE_PREFIX = "dd-"
BRIDGE_ALIAS = "drydock"
"""Marks a bridge as ours, so that nobody else's is ever touched."""

NFT_TABLE = "drydock"


def machine_folder(instance_id: str) -> Path:
    """What one node keeps on the host: console, root mounts, seed and process record."""
    return MACHINES / instance_id


def bridge_name(vpc_id: str) -> str:
    """At most 15 characters, as the kernel wants: vpc-0123456789abcdef0 → dd-56789abcdef0."""
    return BRIDGE_PREFIX + vpc_id.removeprefix("vpc-")[-12:]
