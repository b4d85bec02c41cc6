"""One node: a systemd-nspawn container that boots the golden image on its own root volume.

The process tree is a small shell that restarts nspawn when the node reboots, in a session of its own, so that
nodes outlive the daemon and a new daemon finds them again by their record on disk.
"""

import contextlib
import json
import os
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from rehearsal.cloud import cgroups, places, volumes
from rehearsal.cloud.instances import Machine
from rehearsal.cloud.shell import run

PROPAGATE = Path("/run/systemd/nspawn/propagate")
CGROUP_PREFIX = "drydock-"
KILL_TAKES_S = 10.0
"""At most, until the kernel has ended all that ran in a killed node."""

REBOOTED = 133
"""nspawn's exit code when the container asked to be started again."""

KEEPER = f"""
{cgroups.ENTER}
folder=$2; shift 2
while :; do systemd-nspawn "$@" </dev/null; code=$?; [ $code -eq {REBOOTED} ] || break; done
echo $code > "$folder/exit-code"
"""

CONTROL_ALT_DELETE = signal.SIGINT
"""What init takes for an orderly reboot."""


@dataclass(frozen=True)
class Process:
    """The keeper of a node that was started."""

    pid: int
    start_time: int
    """In clock ticks since the host's boot, against reuse of the pid."""
    volumes: tuple[str, ...]
    """Ids of the volumes that it holds loop devices of."""

    def alive(self) -> bool:
        return _start_time(self.pid) == self.start_time


def start(machine: Machine, image: Path, environment: Mapping[str, str], name_servers: list[str]) -> Process:
    """Boots the node; on a root volume that has booted before, as it was left. Raises `Failure`."""
    folder = places.machine_folder(machine.instance_id)
    folder.mkdir(parents=True, exist_ok=True)
    root = _mount(machine, image)
    _seed(root, machine, environment, name_servers)
    (folder / "exit-code").unlink(missing_ok=True)
    binds = [f"--bind={volumes.attach(d)}:{at}" for d in machine.data_disks for at in (d.path, d.link)]
    nspawn = [
        "--quiet",
        f"--directory={root}",
        f"--machine={machine.instance_id}",
        f"--network-bridge={machine.bridge}",
        "--boot",
        "--console=read-only",
        "--resolv-conf=off",
        "--setenv=SYSTEMD_COLORS=0",  # the console is read as text
        "--register=no",
        *binds,
    ]
    groups = " ".join(str(group) for group in _cgroups(machine.instance_id))
    if groups:
        nspawn.append("--keep-unit")
    with (folder / "console.log").open("ab") as console:
        keeper = subprocess.Popen(
            ["sh", "-c", KEEPER, "drydock-node", groups, str(folder), *nspawn],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            start_new_session=True,
        )
    held = (machine.root.volume_id, *(disk.volume_id for disk in machine.data_disks))
    process = Process(keeper.pid, _start_time(keeper.pid) or 0, held)
    record = folder / "process.json"
    record.with_suffix(".new").write_text(json.dumps(asdict(process)))
    record.with_suffix(".new").replace(record)
    return process


def recorded(instance_id: str) -> Process | None:
    """The node's keeper as last started by any daemon, alive or not."""
    try:
        saved = json.loads((places.machine_folder(instance_id) / "process.json").read_text())
        return Process(saved["pid"], saved["start_time"], tuple(saved["volumes"]))
    except FileNotFoundError:
        return None


def halt(process: Process) -> bool:
    """Asks the node for an orderly shutdown; returns at once. False if there is no node to ask yet."""
    nspawn = _children(process.pid)
    for pid in nspawn:
        _signal(pid, signal.SIGTERM)
    return bool(nspawn)


def reboot(process: Process) -> None:
    """Asks the node's init for an orderly reboot; returns at once."""
    for nspawn in _children(process.pid):
        for init in _children(nspawn):
            _signal(init, CONTROL_ALT_DELETE)


def kill(instance_id: str) -> bool:
    """Ends the node at once, as pulling the plug does, also one whose keeper is lost; whether it ran.

    Returns when the node's processes are gone, so that its mounts can be taken away.
    """
    process = recorded(instance_id)
    ran = process is not None and process.alive()
    if process is not None and ran:
        _signal(process.pid, signal.SIGKILL)
    running = [pid for owner, pid in nspawns() if owner == instance_id]
    for nspawn in running:
        for pid in (*_children(nspawn), nspawn):
            _end(pid)
    return ran or bool(running)


def release(instance_id: str) -> None:
    """After the end of the node's process: takes its mounts, loop devices and control group away."""
    kill(instance_id)
    folder = places.machine_folder(instance_id)
    for mount in (folder / "root", folder / "volume"):
        if mount.is_mount():
            run("umount", str(mount))
    process = recorded(instance_id)
    for volume_id in process.volumes if process else ():
        volumes.detach(volume_id)
    forget(instance_id)
    (folder / "process.json").unlink(missing_ok=True)


def forget(instance_id: str) -> None:
    """Removes what the kernel and nspawn keep of a node that has ended."""
    if _cgroups(instance_id):
        cgroups.remove(CGROUP_PREFIX + instance_id)
    with contextlib.suppress(FileNotFoundError):
        (PROPAGATE / instance_id).rmdir()


def traced() -> list[str]:
    """Ids of nodes that have ended and of which `forget` would remove something."""
    groups = {
        path.name.removeprefix(CGROUP_PREFIX)
        for hierarchy in cgroups.hierarchies()
        for path in hierarchy.glob(f"{CGROUP_PREFIX}i-*")
    }
    folders = {path.name for path in PROPAGATE.glob("i-*")} & {*known(), *groups}
    return sorted(groups | folders)


def console(instance_id: str) -> bytes:
    """What the node has written to its console since it was launched, all boots."""
    try:
        return (places.machine_folder(instance_id) / "console.log").read_bytes()
    except FileNotFoundError:
        return b""


def _cgroups(instance_id: str) -> tuple[Path, ...]:
    """Control groups of the node's own; none where the machine's systemd gives it a scope."""
    if Path("/run/systemd/system").exists():
        return ()
    return cgroups.groups(CGROUP_PREFIX + instance_id)


def _mount(machine: Machine, image: Path) -> Path:
    folder = places.machine_folder(machine.instance_id)
    volume, root = folder / "volume", folder / "root"
    for path in (volume, root):
        path.mkdir(exist_ok=True)
    if not volume.is_mount():
        run("mount", str(volumes.attach_root(machine.root)), str(volume))
    for path in (volume / "upper", volume / "work"):
        path.mkdir(exist_ok=True)
    if not root.is_mount():
        layers = f"lowerdir={image},upperdir={volume / 'upper'},workdir={volume / 'work'}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, str(root))
    return root


def _seed(root: Path, machine: Machine, environment: Mapping[str, str], name_servers: list[str]) -> None:
    """What cloud-init reads at boot, and what EC2's network gives by DHCP."""
    seed = root / "var/lib/cloud/seed/nocloud"
    seed.mkdir(parents=True, exist_ok=True)
    for name, content in seed_files(machine).items():
        (seed / name).write_bytes(content)
    resolv = root / "etc/resolv.conf"
    resolv.unlink(missing_ok=True)
    resolv.write_text("".join(f"nameserver {server}\n" for server in name_servers))
    variables = root / "etc/environment"
    kept = variables.read_text().splitlines() if variables.exists() else []
    ours = [f"{name}={value}" for name, value in environment.items()]
    lines = [line for line in kept if line.partition("=")[0] not in environment]
    variables.write_text("\n".join([*lines, *ours, ""]))


def seed_files(machine: Machine) -> dict[str, bytes]:
    """cloud-init's NoCloud files. JSON is YAML."""
    meta = {
        "instance-id": machine.instance_id,
        "local-hostname": machine.hostname,
        "public-keys": [machine.public_key] if machine.public_key else [],
    }
    interface = {
        "addresses": [f"{machine.address}/{machine.prefix}"],
        "routes": [{"to": "0.0.0.0/0", "via": machine.router}],
        # Waiting for an IPv6 router that is not there costs 12 s of each boot.
        "accept-ra": False,
        "link-local": [],
    }
    return {
        "meta-data": json.dumps(meta).encode(),
        "network-config": json.dumps({"version": 2, "ethernets": {"host0": interface}}).encode(),
        "user-data": machine.user_data or b"#cloud-config\n{}\n",
    }


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return []


def known() -> list[str]:
    """Ids of all nodes of which this machine has anything: files, or a process though its files are lost."""
    on_disk = {folder.name for folder in places.MACHINES.iterdir()} if places.MACHINES.exists() else set()
    return sorted(on_disk | {instance_id for instance_id, _ in nspawns()})


def nspawns() -> Iterator[tuple[str, int]]:
    """(instance, pid) of each nspawn process of ours, whoever is its parent."""
    prefix = f"--directory={places.MACHINES}/"
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            words = entry.read_bytes().decode(errors="replace").split("\0")
            if words[0].endswith("systemd-nspawn"):
                yield from (
                    (word.removeprefix(prefix).split("/")[0], int(entry.parent.name))
                    for word in words
                    if word.startswith(prefix)
                )


def _end(pid: int) -> None:
    """Kills the process and returns when it is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        _signal(pid, signal.SIGKILL)
        select.select([descriptor], [], [], KILL_TAKES_S)
    finally:
        os.close(descriptor)


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, number)


def _start_time(pid: int) -> int | None:
    """In clock ticks since boot; None for a process that is gone or only waits to be reaped."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])
