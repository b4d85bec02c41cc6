"""N hosts with a real sshd each: nodes of the golden image that boot systemd on an overlay of their own.

All of it lives in namespaces of one process (``enclosed``): mounts, links, files and processes end with that
process, however it ends. What is kept beyond it, the directories of control groups, is removed after it.
"""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ansible_like.connection import Target
from cluster.problems import Failure
from rehearsal import image
from scripts.ssh_bench import cgroup

WORK = Path("/run/bench-ssh")
"""In the enclosed process /run is a file system of its own, in memory."""
BRIDGE = "bench0"
GATEWAY = "10.214.0.1"
NETMASK_BITS = 16
MOST_HOSTS = 200
WATCHES = Path("/proc/sys/fs/inotify/max_user_instances")
WATCHES_A_HOST = 32
BOOT_S = 300.0
SSHD = """\
PermitRootLogin prohibit-password
MaxStartups 100
"""
NETWORK = """\
[Match]
Name=host0
[Network]
Address={address}/{bits}
LinkLocalAddressing=no
IPv6AcceptRA=no
"""


@dataclass(frozen=True)
class Host:
    """One node: its own address, and where peers reach its sshd (a relay's port where there is a delay)."""

    name: str
    own_address: str
    address: str
    port: int
    host_key: str
    leader: int
    """The process id of its systemd."""

    def target(self, private_key: str) -> Target:
        """As the engine wants it."""
        return Target(self.name, self.address, "root", private_key, (self.host_key,), port=self.port)


def enclosed(command: Sequence[str]) -> list[str]:
    """The argument list that runs a command in mount, network and process namespaces that end with it."""
    unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc"]
    own_run = 'mount -t tmpfs -o mode=755,size=80% tmpfs /run && mkdir /run/bench-ssh && exec "$@"'
    return ["setpriv", "--pdeathsig", "KILL", *unshare, "sh", "-c", own_run, "enclosed", *command]


@contextmanager
def room_for_watches() -> Iterator[None]:
    """Lets the kernel give every node's systemd its inotify instances; the default is enough for 30 nodes."""
    before = WATCHES.read_text()
    WATCHES.write_text(str(max(int(before), WATCHES_A_HOST * MOST_HOSTS)))
    try:
        yield
    finally:
        WATCHES.write_text(before)


@contextmanager
def booted(count: int) -> Iterator[list[Host]]:
    """Nodes that answer SSH; they and all that belongs to them are gone after the block. Raises Failure."""
    _shell("ip", "link", "set", "lo", "up")
    _shell("ip", "link", "add", BRIDGE, "type", "bridge")
    _shell("ip", "address", "add", f"{GATEWAY}/{NETMASK_BITS}", "dev", BRIDGE)
    _shell("ip", "link", "set", BRIDGE, "up")
    make_key(private_key())
    with ExitStack() as undo:
        undo.callback(_shell, "ip", "link", "delete", BRIDGE)
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            names = [f"node-{index:03}" for index in range(count)]
            list(pool.map(_prepare, names, map(_address, range(count))))
        processes = {name: undo.enter_context(_running(name)) for name in names}
        until = time.monotonic() + BOOT_S
        for index, name in enumerate(names):
            _await_sshd(name, _address(index), processes[name], until)
        yield [
            Host(
                name,
                _address(index),
                _address(index),
                22,
                _folder(name).joinpath("host_key.pub").read_text().strip(),
                _children(processes[name].pid)[0],
            )
            for index, name in enumerate(names)
        ]


def private_key() -> Path:
    """The key that every host takes for root."""
    return WORK / "user_key"


def make_key(path: Path) -> None:
    """An Ed25519 key pair at ``path`` and ``path``.pub."""
    _shell("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "bench", "-f", path)


def on_each(hosts: Sequence[Host], program: str, argument: Any) -> dict[str, Any]:
    """Runs a Python program inside every node, not over SSH; what each prints as JSON, by the host's name.

    ``argument`` is JSON in ``sys.argv[1]``. Raises Failure.
    """
    enter = ["nsenter", "--mount", "--uts", "--ipc", "--net", "--pid", "--target"]

    def run(host: Host) -> Any:
        argv = [*enter, str(host.leader), "python3", "-I", "-", json.dumps(argument)]
        done = subprocess.run(argv, input=program, check=False, capture_output=True, text=True)
        if done.returncode != 0:
            raise Failure(
                f"{host.name}: a program of the bench failed\n{done.stderr}", "See the lines above."
            )
        return json.loads(done.stdout or "null")

    with ThreadPoolExecutor((os.cpu_count() or 1) * 2) as pool:
        return dict(zip((host.name for host in hosts), pool.map(run, hosts), strict=True))


def _folder(name: str) -> Path:
    return WORK / "nodes" / name


def _address(index: int) -> str:
    return f"10.214.1.{index + 1}"


def _prepare(name: str, address: str) -> None:
    """The node's root: the image below, a layer in memory above, and what cloud-init would bring."""
    folder = _folder(name)
    for part in ("root", "upper", "work"):
        (folder / part).mkdir(parents=True)
    make_key(folder / "host_key")
    root = folder / "root"
    layers = f"lowerdir={image.root()},upperdir={folder}/upper,workdir={folder}/work"
    _shell("mount", "-t", "overlay", "overlay", "-o", layers, root)
    (root / "etc/cloud/cloud-init.disabled").touch()
    (root / "etc/hostname").write_text(f"{name}\n")
    (root / "etc/systemd/network/10-link.network").write_text(
        NETWORK.format(address=address, bits=NETMASK_BITS)
    )
    (root / "etc/ssh/sshd_config.d/00-bench.conf").write_text(SSHD)
    for suffix, mode in (("", 0o600), (".pub", 0o644)):
        place = root / f"etc/ssh/ssh_host_ed25519_key{suffix}"
        shutil.copyfile(folder / f"host_key{suffix}", place)
        place.chmod(mode)
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    shutil.copyfile(private_key().with_suffix(".pub"), root / "root/.ssh/authorized_keys")


@contextmanager
def _running(name: str) -> Iterator[subprocess.Popen[bytes]]:
    folder = _folder(name)
    groups = cgroup.node(name)
    nspawn = [
        *("systemd-nspawn", "--quiet", f"--directory={folder}/root", f"--machine={name}", "--boot"),
        *("--register=no", "--keep-unit", f"--network-bridge={BRIDGE}", "--console=read-only"),
        "--resolv-conf=off",
    ]
    with (folder / "console").open("wb") as console:
        process = subprocess.Popen(
            cgroup.started_in(groups, nspawn), stdin=subprocess.DEVNULL, stdout=console, stderr=console
        )
    try:
        yield process
    finally:
        # the first process of the node takes all others with it
        for child in _children(process.pid):
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        process.kill()
        process.wait()
        for group in groups:
            cgroup.remove(group)
        _shell("umount", "--lazy", folder / "root")


def _await_sshd(name: str, address: str, process: subprocess.Popen[bytes], until: float) -> None:
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), socket.create_connection((address, 22), timeout=2) as sock:
            if sock.recv(4) == b"SSH-":
                return
        time.sleep(0.2)
    console = (_folder(name) / "console").read_text(errors="replace")
    last = "".join(f"\n    | {line}" for line in console.splitlines()[-15:])
    raise Failure(
        f"{name} did not boot to an sshd that answers within {BOOT_S:.0f} s{last}", "See its console."
    )


def _children(pid: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except FileNotFoundError:
        return []


def _shell(*argv: object) -> str:
    words = [str(word) for word in argv]
    done = subprocess.run(words, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise Failure(f"{' '.join(words)} ended with exit code {done.returncode}: {done.stderr.strip()}", "")
    return done.stdout
