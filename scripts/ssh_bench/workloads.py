"""What is done on every host: a workload is a list of the engine's operations; peers' forms follow from it.

W1  one command
W2  the four tasks of the public pyinfra-performance benchmark (its playbook touches the log file anew each
    time, which is not idempotent; here the file is only made)
W3  what the bootstrap makes of a node, less its heavy steps: no package, download, disk, GPU or weights
W4  500 small files in ten directories
W5  one file of 256 MiB that does not compress
"""

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ansible_like.operations import (
    Absent,
    Command,
    Directory,
    File,
    Group,
    Link,
    Operation,
    Service,
    Sysctl,
    Upload,
    User,
)

TREE = "/srv/bench/tree"
TREE_FILES, TREE_DIRECTORIES, TREE_FILE_BYTES = 500, 10, 1024
BLOB = "/root/blob"
BLOB_BYTES = 256 << 20


@dataclass(frozen=True)
class Workload:
    """One row of work."""

    id: str
    title: str
    operations: tuple[Operation, ...]
    tree: str = ""
    """A directory that peers with an operation for whole directories send as one."""

    @property
    def is_tree(self) -> bool:
        return bool(self.tree)


def workload(name: str) -> Workload:
    """By id, W1 to W5."""
    return {"W1": _w1, "W2": _w2, "W3": _w3, "W4": _w4, "W5": _w5}[name]()


TITLES = {
    "W1": "one command",
    "W2": "four tasks of pyinfra-performance",
    "W3": "our own node play",
    "W4": "500 small files",
    "W5": "one 256 MiB file",
}


def _w1() -> Workload:
    return Workload("W1", TITLES["W1"], (Command('echo "hi!"'),))


def _w2() -> Workload:
    text = "this is a test file - it should be in /home/pyinfra/!\n"
    return Workload(
        "W2",
        TITLES["W2"],
        (
            User("pyinfra", "/home/pyinfra", "/bin/bash", system=False),
            File("/var/log/pyinfra.log", "", 0o777, "pyinfra"),
            File("/home/pyinfra/test_file.txt", text, 0o644, "pyinfra"),
            Command('echo "hi!"'),
        ),
    )


def _w3() -> Workload:
    from bootstrap.replica import replica_operations
    from bootstrap.roles.base import base
    from bootstrap.roles.firewall import firewall
    from bootstrap.roles.storage import storage
    from bootstrap.specs import NodeSpec, Readiness, ReplicaNode, ReplicaSpec

    spec = NodeSpec(
        instance_type="p5.48xlarge", accelerator="cpu", gpu_count=8, gpu_name="H100",
        compute_capability="9.0", needs_fabric_manager=True, efa_interfaces=32, instance_store_disks=8,
        data_device="",
        cluster_cidr="10.214.0.0/16", api_port=8000, ssh_port=22, vllm_version="0.32.0", primary_interface="",
        model_dir="/models/DeepSeek-V3", image_has_driver=True,
    )  # fmt: skip
    arguments = ("/models/DeepSeek-V3", "--tensor-parallel-size", "8", "--pipeline-parallel-size", "2")
    replica = ReplicaSpec(
        model="DeepSeek-V3", model_dir=spec.model_dir, port=8000, master_port=29500, nodes=2,
        tensor_parallel_size=8, pipeline_parallel_size=2, data_parallel_size=1, head_args=arguments,
        worker_args=arguments, environment={"HF_HUB_OFFLINE": "1"}, accelerator="cpu",
        readiness=Readiness(prompt="2+2?", answer="4"),
    )  # fmt: skip
    node = ReplicaNode("node-0", 0, "10.214.1.1", "root", ("ssh-ed25519 AAAA",), "n" * 64)
    play = (
        *base(spec),
        *storage(spec),
        *firewall(spec),
        *replica_operations(replica, node, "10.214.1.1", "not-a-key", "r" * 64),
    )
    light = (File, Directory, Absent, Link, Group, User, Sysctl, Service)
    return Workload("W3", TITLES["W3"], tuple(each for each in play if isinstance(each, light)))


def _w4() -> Workload:
    chance = random.Random(4)  # noqa: S311 - the same bytes each time
    directories = [f"{TREE}/d{number:02}" for number in range(TREE_DIRECTORIES)]
    files = [
        File(
            f"{directories[number % TREE_DIRECTORIES]}/f{number:03}",
            chance.randbytes(TREE_FILE_BYTES // 2).hex()[: TREE_FILE_BYTES - 1] + "\n",
        )
        for number in range(TREE_FILES)
    ]
    return Workload(
        "W4", TITLES["W4"], (Directory(TREE), *(Directory(path) for path in directories), *files), TREE
    )


def _w5() -> Workload:
    return Workload("W5", TITLES["W5"], (Upload(BLOB, "the blob"),))


def blob() -> Iterator[bytes]:
    """The content of W5's file, in pieces."""
    chance = random.Random(5)  # noqa: S311 - the same bytes each time
    for _ in range(BLOB_BYTES >> 20):
        yield chance.randbytes(1 << 20)


def paths(operations: Sequence[Operation]) -> list[str]:
    """Every path that the operations lead, homes and their new parents included, parents first."""
    own = [path for each in operations if (path := getattr(each, "path", None))]
    own += [each.home for each in operations if isinstance(each, User)]
    return sorted(set(own))


def new_paths(operations: Sequence[Operation], image: Path) -> list[str]:
    """What is not in a fresh node and has to go before another first pass: paths and their new parents."""
    named = paths(operations)
    parents = {str(parent) for path in named for parent in PurePosixPath(path).parents}
    return [path for path in sorted({*named, *parents}) if not _is_in(image, path)]


def _is_in(image: Path, path: str) -> bool:
    place = image / path.lstrip("/")
    return place.is_symlink() or place.exists()


def kernel_keys(operations: Sequence[Operation]) -> list[str]:
    return sorted(key for each in operations if isinstance(each, Sysctl) for key in each.settings)


def touched(operations: Sequence[Operation], image: Path) -> dict[str, list[str]]:
    """All that the operations touch, as the programs on the hosts take it."""
    return {
        "paths": paths(operations),
        "new_paths": new_paths(operations, image),
        "users": [each.name for each in operations if isinstance(each, User)],
        "groups": [each.name for each in operations if isinstance(each, Group)],
        "units": [each.unit for each in operations if isinstance(each, Service)],
        "kernel_keys": kernel_keys(operations),
    }


FINGERPRINT = """\
import grp, hashlib, json, os, pwd, stat, subprocess, sys
what = json.loads(sys.argv[1])
seen = {}
def look(path):
    try:
        status = os.lstat(path)
    except OSError:
        seen[path] = "absent"
        return
    kind = stat.S_IFMT(status.st_mode)
    owner = pwd.getpwuid(status.st_uid).pw_name + ":" + grp.getgrgid(status.st_gid).gr_name
    text = "%o %s" % (status.st_mode, owner)
    if kind == stat.S_IFREG:
        with open(path, "rb") as file:
            text += " " + hashlib.sha256(file.read()).hexdigest()
    elif kind == stat.S_IFLNK:
        text += " -> " + os.readlink(path)
    seen[path] = text
    if kind == stat.S_IFDIR:
        for name in sorted(os.listdir(path)):
            look(os.path.join(path, name))
for path in what["paths"]:
    look(path)
def lines(file, names):
    for line in open(file):
        if line.split(":")[0] in names:
            seen[file + " " + line.split(":")[0]] = line.strip()
lines("/etc/passwd", what["users"])
lines("/etc/group", what["groups"] + what["users"])
for unit in what["units"]:
    show = ["systemctl", "show", "--property=ActiveState,SubState,UnitFileState,NeedDaemonReload", unit]
    seen["unit " + unit] = subprocess.run(show, capture_output=True, text=True).stdout
for key in what["kernel_keys"]:
    try:
        seen["kernel " + key] = " ".join(open("/proc/sys/" + key.replace(".", "/")).read().split())
    except OSError:
        seen["kernel " + key] = "absent"
print(json.dumps(seen))
"""
"""Runs on a host: content, mode and owner of all that a workload touches, users, units, kernel settings."""

RESET = """\
import json, os, shutil, subprocess, sys
what = json.loads(sys.argv[1])
def run(*argv):
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
def remove(path):
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)
for unit in what["units"]:
    run("systemctl", "disable", "--now", unit)
for path in reversed(what["new_paths"]):
    remove(path)
if what["units"]:
    run("systemctl", "daemon-reload")
    run("systemctl", "reset-failed")
for name in what["users"]:
    run("userdel", name)
for name in what["groups"]:
    run("groupdel", name)
for key, value in what["kernel"].items():
    try:
        open("/proc/sys/" + key.replace(".", "/"), "w").write(value)
    except OSError:
        pass
for folder in what["traces"]:
    remove(folder)
print("null")
"""
"""Runs on a host: takes away what a workload made and what its tools keep there, for another first pass."""

TRACES = (
    "/var/lib/ansible_like",
    "/var/cache/ansible_like",
    "/root/.ansible",
    "/root/.cache",
    "/root/.local",
)
