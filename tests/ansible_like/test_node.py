"""The operations that need root and systemd, on a node that booted: sudo, users, units, packages, mounts."""

from __future__ import annotations

import hashlib
import os
import re
import select
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from ansible_like.connection import Connection, Target
from ansible_like.operations import (
    Absent,
    AuthorizedKey,
    Command,
    Directory,
    Download,
    File,
    Group,
    InstanceStore,
    KernelModule,
    Limits,
    Mount,
    Operation,
    Package,
    Reboot,
    Repository,
    Service,
    Sysctl,
    Upload,
    User,
    WaitFor,
)
from ansible_like.result import EngineError, Event, HostResult, StepFailed, SudoRefused
from ansible_like.runner import apply
from rehearsal import image
from rehearsal.cloud import cgroups
from tests import measured
from tests.ansible_like.conftest import make_key

pytestmark = pytest.mark.e2e

HOST, NODE = "10.213.0.1", "10.213.0.2"
BRIDGE = "sshnode0"
NETWORK = f"[Match]\nName=host0\n[Network]\nAddress={NODE}/30\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n"
REPOSITORY = "/opt/repository"
DISK_BYTES = 64 << 20
REBOOTS = 133  # nspawn's exit code when the node asked to be booted anew

CONTROL = "Version: 1.0\nArchitecture: all\nMaintainer: x <x@x>\nDescription: x\n"
UNIT = """\
[Service]
ExecStart=/bin/sh -c 'cat /etc/app.conf; exec sleep infinity'
[Install]
WantedBy=multi-user.target
"""
DIES = "[Service]\nExecStart=/bin/sh -c 'echo the reason; exit 3'\nType=notify\n"


@dataclass(frozen=True)
class Node:
    """A booted node, with a user who may become root there."""

    target: Target
    root: Path

    def converge(self, *operations: Operation, **options: Any) -> HostResult:
        return apply({self.target: operations}, connect_deadline_s=20, **options)[self.target.name]

    def run(self, script: str) -> str:
        with Connection.open(self.target, 20) as connection:
            return connection.run(script, sudo=True).stdout


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    """A node of its own on a copy-on-write root, on a private link, with a blank disk at /dev/sdf."""
    if os.getuid() != 0 or not image.root().exists():
        pytest.skip("needs root and the image of a node (scripts/setup)")
    folder = tmp_path_factory.mktemp("node")
    for name in ("host_key", "user_key", "stranger_key"):
        make_key(folder / name)
    root, memory = folder / "root", folder / "memory"
    with ExitStack() as undo:
        for path in (root, memory):
            path.mkdir()
        shell("mount", "-t", "tmpfs", "tmpfs", memory)
        undo.callback(shell, "umount", "--lazy", memory)
        for name in ("upper", "work"):
            (memory / name).mkdir()
        layers = f"lowerdir={image.root()},upperdir={memory}/upper,workdir={memory}/work"
        shell("mount", "-t", "overlay", "overlay", "-o", layers, root)
        undo.callback(shell, "umount", "--lazy", root)
        furnish(root, folder)
        measured.furnish_node(root)
        undo.callback(measured.collect_node, root)
        (memory / "disk").touch()
        os.truncate(memory / "disk", DISK_BYTES)
        loop = shell("losetup", "--find", "--show", memory / "disk").strip()
        undo.callback(shell, "losetup", "--detach", loop)
        shell("ip", "link", "add", BRIDGE, "type", "bridge")
        undo.callback(shell, "ip", "link", "delete", BRIDGE)
        shell("ip", "address", "add", f"{HOST}/30", "dev", BRIDGE)
        shell("ip", "link", "set", BRIDGE, "up")
        undo.enter_context(booted(root, loop, folder / "console"))
        key, host_key = (folder / "user_key").read_text(), (folder / "host_key.pub").read_text()
        target = Target("node-0", NODE, "ubuntu", key, (host_key,))
        try:
            Connection.open(target, 60).close()
        except EngineError as error:
            error.add_note((folder / "console").read_text(errors="replace"))
            raise
        yield Node(target, root)


def furnish(root: Path, folder: Path) -> None:
    """Give the image what cloud-init would: a network, keys, one user who may become root and one who not."""
    (root / "etc/cloud/cloud-init.disabled").touch()
    (root / "etc/systemd/network/10-link.network").write_text(NETWORK)
    for name in ("host_key", "host_key.pub"):
        place = root / "etc/ssh" / f"ssh_{name.replace('host_key', 'host_ed25519_key')}"
        shutil.copy(folder / name, place)
        place.chmod(0o600)
    for user in ("ubuntu", "stranger"):
        shell("chroot", root, "useradd", "--create-home", "--shell", "/bin/bash", user)
        (root / f"home/{user}/.ssh").mkdir()
        shutil.copy(folder / "user_key.pub", root / f"home/{user}/.ssh/authorized_keys")
    (root / "etc/sudoers.d/ubuntu").write_text("ubuntu ALL=(ALL) NOPASSWD:ALL\n")
    shutil.rmtree(root / "etc/apt/sources.list.d", ignore_errors=True)
    (root / "etc/apt/sources.list").write_text(f"deb [trusted=yes] file:{REPOSITORY} ./\n")


@contextmanager
def booted(root: Path, loop: str, console: Path) -> Iterator[None]:
    """The node's processes, in a control group of their own; all gone at the end."""
    nspawn = [
        *("systemd-nspawn", "--quiet", f"--directory={root}", f"--machine={BRIDGE}", "--boot"),
        *("--register=no", "--keep-unit", f"--network-bridge={BRIDGE}", "--console=read-only"),
        *("--resolv-conf=off", f"--bind={loop}:/dev/sdf"),
    ]
    groups = " ".join(str(group) for group in cgroups.groups(BRIDGE))
    boots = f'{cgroups.ENTER}; shift; "$@"; while [ $? = {REBOOTS} ]; do "$@"; done'
    start = ["sh", "-c", boots, "node", groups, *nspawn]
    with console.open("wb") as output:
        process = subprocess.Popen(start, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        yield
    finally:
        containers = children(process.pid)
        ends = [os.pidfd_open(container) for container in containers]
        process.kill()  # the loop, so that it boots no more
        process.wait()
        # the first process of the node takes all others with it
        for first in [first for container in containers for first in children(container)]:
            os.kill(first, signal.SIGKILL)
        for end in ends:
            select.select([end], [], [])
            os.close(end)
        cgroups.remove(BRIDGE)


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def shell(*argv: object) -> str:
    return subprocess.run([str(word) for word in argv], check=True, capture_output=True, text=True).stdout


def statuses(result: HostResult) -> list[str]:
    assert result.error is None or isinstance(result.error, StepFailed), result.error
    return [operation.status for operation in result.operations]


def test_users_groups_and_what_they_own(node: Node) -> None:
    operations = (
        Group("crew"),
        User("app", "/var/lib/app", "/usr/sbin/nologin", groups=("crew",)),
        Directory("/var/lib/app", 0o750, "app", "app"),
        File("/var/lib/app/conf", "x\n", 0o640, "root", "app"),
    )
    assert statuses(node.converge(*operations, check=True)) == ["changed"] * 4
    assert statuses(node.converge(*operations)) == ["changed"] * 4
    assert statuses(node.converge(*operations)) == ["ok"] * 4
    assert node.run("stat -c %U:%G:%a /var/lib/app/conf; id -Gn app").split() == [
        "root:app:640",
        "app",
        "crew",
    ]

    numbered = File("/var/lib/app/numbered", "", owner="12345", group="12346")
    assert statuses(node.converge(numbered)) == ["changed"]
    assert statuses(node.converge(numbered)) == ["ok"]

    moved = User("app", "/srv", "/usr/sbin/nologin", groups=("crew", "video"))
    assert statuses(node.converge(moved)) == ["changed"]
    assert node.run("getent passwd app | cut -d: -f6; id -Gn app").split()[0] == "/srv"
    assert statuses(node.converge(moved)) == ["ok"]


def test_a_unit_starts_restarts_with_its_file_and_goes(node: Node) -> None:
    def operations(conf: str, unit: str = UNIT) -> tuple[Operation, ...]:
        return (
            File("/etc/app.conf", conf),
            File("/etc/systemd/system/app.service", unit),
            Service("app.service", True, True, ("/etc/app.conf", "/etc/systemd/system/app.service")),
            WaitFor(unit="app.service"),
        )

    def started() -> str:
        return node.run("systemctl show --property=ExecMainStartTimestampMonotonic app.service")

    checked = node.converge(*operations("one\n"), check=True)
    assert statuses(checked) == ["changed", "changed", "skipped", "skipped"]
    assert statuses(node.converge(*operations("one\n"))) == ["changed", "changed", "changed", "ok"]
    first = started()
    assert statuses(node.converge(*operations("one\n"))) == ["ok"] * 4
    assert started() == first
    assert statuses(node.converge(*operations("two\n"))) == ["changed", "ok", "changed", "ok"]
    assert started() != first
    assert node.run("journalctl --unit=app.service --output=cat | grep -c two").strip() == "1"
    with_description = operations("two\n", "[Unit]\nDescription=Changed\n" + UNIT)
    assert statuses(node.converge(*with_description)) == ["ok", "changed", "changed", "ok"]
    assert node.run("systemctl show --property=Description --value app.service").strip() == "Changed"
    gone = (Service("app.service", False, False), Absent("/etc/systemd/system/app.service"))
    assert statuses(node.converge(*gone)) == ["changed", "changed"]
    assert statuses(node.converge(*gone)) == ["ok", "ok"]


def test_a_unit_that_dies_tells_its_journal(node: Node) -> None:
    result = node.converge(File("/etc/systemd/system/dies.service", DIES), Service("dies.service", True))
    assert isinstance(result.error, StepFailed)
    assert "systemctl start dies.service (exit code 1)" in str(result.error)
    assert "journal of dies.service:\n" in str(result.error)
    assert "\n      the reason\n" in str(result.error)


def test_a_unit_that_is_not_there_is_told_as_such(node: Node) -> None:
    result = node.converge(Service("no-such.service", True))
    assert "systemd has no unit no-such.service" in str(result.error)


def test_a_package_comes_once_and_waits_for_the_lock(node: Node) -> None:
    publish(node, "drydock-sample")
    hold = (
        "import fcntl;f=open('/var/lib/dpkg/lock-frontend','w');fcntl.lockf(f,fcntl.LOCK_EX);"
        "open('/run/held','w').close();open('/run/let-go').read()"
    )
    node.run(
        f'mkfifo /run/let-go && systemd-run --quiet --unit=holder python3 -c "{hold}"'
        " && timeout 20 sh -c 'until test -e /run/held; do sleep 0.02; done'"
    )
    waits: list[str] = []

    def let_go(event: Event) -> None:
        if event.status == "progress":
            waits.append(event.detail)
            node.run("echo > /run/let-go")

    package = Package(("drydock-sample",), lock_timeout_s=60)
    assert statuses(node.converge(package, check=True)) == ["changed"]
    impatient = node.converge(replace(package, lock_timeout_s=1))
    assert isinstance(impatient.error, StepFailed)
    assert "waited 1 s for process " in str(impatient.error)
    assert statuses(node.converge(package, on_event=let_go)) == ["changed"]
    (waited,) = waits
    held = (
        r"waits for process \d+ \(`/usr/bin/python3 -c import .*…`\), which holds /var/lib/dpkg/lock-frontend"
    )
    assert re.fullmatch(held, waited)
    again = node.converge(package)
    assert [operation.why for operation in again.operations] == ["installed: drydock-sample 1.0"]


def publish(node: Node, name: str) -> None:
    """A package in the node's own repository."""
    control = f"Package: {name}\\nVersion: 1.0\\nArchitecture: all\\nMaintainer: x <x@x>\\nDescription: x\\n"
    node.run(
        f"mkdir -p /tmp/p/DEBIAN {REPOSITORY} && printf '{control}' > /tmp/p/DEBIAN/control"
        f" && dpkg-deb --build /tmp/p {REPOSITORY}/{name}.deb >/dev/null && cd {REPOSITORY}"
        f" && {{ printf '{control}'; echo Filename: ./{name}.deb; echo Size: $(stat -c %s {name}.deb);"
        f" echo SHA256: $(sha256sum {name}.deb | cut -d' ' -f1); }} > Packages"
    )


@pytest.fixture(scope="module")
def signed(node: Node, tmp_path_factory: pytest.TempPathFactory) -> tuple[Repository, bytes]:
    """A repository in the node that a throw-away key signs, in apt's own layout; and a stranger's key."""
    tmp_path = tmp_path_factory.mktemp("signed")
    if not shutil.which("gpg"):
        pytest.skip("needs gpg: apt-get install gnupg")
    gpg = ("gpg", "--homedir", tmp_path, "--batch", "--yes", "--pinentry-mode=loopback", "--passphrase=")
    place = "opt/signed_~1"
    packages = node.root / place / "dists/stable/main/binary-all"
    packages.mkdir(parents=True)
    (tmp_path / "DEBIAN").mkdir()
    (tmp_path / "DEBIAN/control").write_text(f"{CONTROL}Package: from-vendor\n")
    shell("dpkg-deb", "--build", tmp_path, node.root / place / "from-vendor.deb")
    data = (node.root / place / "from-vendor.deb").read_bytes()
    index = f"{CONTROL}Package: from-vendor\nFilename: ./from-vendor.deb\nSize: {len(data)}\n"
    index += f"SHA256: {hashlib.sha256(data).hexdigest()}\n"
    (packages / "Packages").write_text(index)
    listed = f" {hashlib.sha256(index.encode()).hexdigest()} {len(index)} main/binary-all/Packages"
    release = tmp_path / "Release"
    release.write_text(f"Suite: stable\nArchitectures: all\nComponents: main\nSHA256:\n{listed}\n")
    try:
        for name in ("vendor", "stranger"):
            shell(*gpg, "--quick-generate-key", name, "ed25519", "sign", "never")
        signature = packages.parent.parent / "InRelease"
        shell(*gpg, "--local-user=vendor", "--clearsign", f"--output={signature}", release)
        armored = shell(*gpg, "--armor", "--export", "vendor")
        shell(*gpg, f"--output={tmp_path}/stranger.gpg", "--export", "stranger")
    finally:
        shell("gpgconf", "--homedir", tmp_path, "--kill", "all")
    repository = Repository("vendor", (f"file:/{place}",), ("stable",), ("main",), armored)
    return repository, (tmp_path / "stranger.gpg").read_bytes()


def test_a_repository_is_trusted_by_its_own_key_alone(node: Node, signed: tuple[Repository, bytes]) -> None:
    publish(node, "drydock-sample")  # Package fetches all lists, as no run has yet
    repository, stranger = signed
    package = Package(("from-vendor",))
    assert statuses(node.converge(repository, check=True)) == ["changed"]
    assert node.run("ls /etc/apt/sources.list.d /etc/apt/keyrings 2>/dev/null || true").count("vendor") == 0
    first = node.converge(repository)
    assert first.error is None
    assert statuses(first) == ["changed"]
    assert statuses(node.converge(repository)) == ["ok"]
    assert statuses(node.converge(package)) == ["changed"]

    node.run("rm /var/lib/apt/lists/*stable_InRelease")
    assert [each.why for each in node.converge(repository).operations] == ["no lists"]
    assert statuses(node.converge(repository)) == ["ok"]

    # the binary form of the key, under its own name
    wrong = replace(repository, key=stranger)
    for _ in range(2):
        refused = node.converge(wrong)
        assert isinstance(refused.error, StepFailed)
        assert "NO_PUBKEY" in str(refused.error)
    assert node.run("ls /etc/apt/keyrings").split() == ["vendor.asc", "vendor.gpg"]
    assert statuses(node.converge(repository)) == ["changed"]
    assert node.run("ls /etc/apt/keyrings").split() == ["vendor.asc"]
    assert statuses(node.converge(repository)) == ["ok"]


def test_a_repository_waits_for_the_lock_and_leaves_the_age_of_all_lists(
    node: Node, signed: tuple[Repository, bytes]
) -> None:
    age = "stat --format=%Y /var/lib/apt/lists"
    node.run("touch --date=@1700000000 /var/lib/apt/lists")
    node.run(
        "systemd-run --quiet --unit=lists-holder python3 -c 'import fcntl,time;"
        'f=open("/var/lib/apt/lists/lock","w");fcntl.lockf(f,fcntl.LOCK_EX);time.sleep(3)\''
    )
    other = replace(signed[0], name="other", lock_timeout_s=60)
    assert statuses(node.converge(other)) == ["changed"]
    assert node.run("systemctl is-active lists-holder || true").strip() == "inactive"
    assert node.run(age).strip() == "1700000000"


def test_files_come_to_places_of_root_and_a_full_disk_is_given_back(node: Node, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(os.urandom(2 << 20))
    digest = hashlib.sha256(source.read_bytes()).hexdigest()
    upload = Upload("/opt/uploaded", str(source), 0o600)
    download = Download("http://127.0.0.1:8123/uploaded", "/opt/downloaded", digest, deadline_s=20)
    node.run("systemd-run --quiet --unit=web python3 -m http.server --directory=/opt 8123")
    assert statuses(node.converge(upload, WaitFor(port=8123), download)) == ["changed", "ok", "changed"]
    assert statuses(node.converge(upload, download)) == ["ok", "ok"]
    shown = node.run("stat -c %U:%G:%a /opt/uploaded /opt/downloaded; sha256sum /opt/downloaded").split()
    assert shown[:3] == ["root:root:600", "root:root:644", digest]
    node.run("mkdir /small && mount -t tmpfs -o size=1m tmpfs /small")
    for operation in (replace(upload, path="/small/a"), replace(download, path="/small/a")):
        result = node.converge(operation)
        assert "No space left on device (2.0 MiB are needed, 1.0 MiB free)" in str(result.error)
        assert node.run("ls -A /small") == ""
    node.run("umount /small && rmdir /small && systemctl stop web")


def test_a_blank_disk_is_made_and_mounted_once(node: Node) -> None:
    mount = Mount("/dev/sdf", "/models", "ext4", "defaults,noatime")
    mark = File("/models/mark", "kept\n")
    assert statuses(node.converge(mount, mark)) == ["changed", "changed"]
    assert statuses(node.converge(mount, mark)) == ["ok", "ok"]
    assert node.run("findmnt --noheadings --output=FSTYPE /models").strip() == "ext4"
    node.run("umount /models")
    assert statuses(node.converge(mount, mark)) == ["changed", "ok"]
    assert node.run("grep -c ' /models ' /etc/fstab").strip() == "1"
    other = node.converge(Mount("/dev/sdf", "/other", "xfs"))
    assert "/dev/sdf holds ext4, not xfs: it is left as it is" in str(other.error)
    # an instance store of one disk is the same mount
    store = InstanceStore(("/dev/sdf",), "/models", "ext4")
    assert statuses(node.converge(store, mark)) == ["ok", "ok"]
    gone = node.converge(replace(store, devices=("/dev/sdf", "/dev/sdg")))
    assert "there is no /dev/sdg: has this instance type so many disks?" in str(gone.error)


def test_kernel_settings_of_the_node_and_of_the_machine_below_it(node: Node) -> None:
    ours = Sysctl({"net.ipv4.ip_local_port_range": "45000 60999"}, path="/etc/sysctl.d/60-ports.conf")
    assert statuses(node.converge(ours)) == ["changed"]
    assert node.run("cat /proc/sys/net/ipv4/ip_local_port_range").split() == ["45000", "60999"]
    assert statuses(node.converge(ours)) == ["ok"]
    below = Sysctl(
        {"vm.swappiness": "7", "no.such.key": "1"}, "/etc/sysctl.d/60-vm.conf", tolerate_missing=True
    )
    first, second = node.converge(below), node.converge(below)
    assert statuses(first) == ["changed"]
    assert statuses(second) == ["skipped"]
    assert "no.such.key: the kernel has no such key" in second.operations[0].why
    assert "vm.swappiness" in second.operations[0].why
    strict = node.converge(replace(below, tolerate_missing=False))
    assert "set tolerate_missing" in str(strict.error)


def test_a_value_that_the_kernel_refuses(node: Node) -> None:
    backwards = Sysctl({"net.ipv4.ip_local_port_range": "60999 45000"}, "/etc/sysctl.d/60-wrong.conf")
    refused = node.converge(backwards)
    assert "set net.ipv4.ip_local_port_range = 60999 45000" in str(refused.error)
    assert "Invalid argument" in str(refused.error)
    tolerated = node.converge(replace(backwards, tolerate_missing=True))
    assert statuses(tolerated) == ["skipped"]
    why = "net.ipv4.ip_local_port_range: the kernel refuses 60999 45000 (Invalid argument)"
    assert tolerated.operations[0].why == why


def test_who_may_not_become_root_is_told_so(node: Node) -> None:
    stranger = replace(node.target, user="stranger")
    result = apply({stranger: (Command("id"),)}, connect_deadline_s=20)["node-0"]
    assert isinstance(result.error, SudoRefused)
    assert "stranger may not become root: sudo: a password is required" in str(result.error)


def test_without_sudo_the_user_works_in_the_own_home(node: Node) -> None:
    alone = replace(node.target, user="stranger", sudo=False)
    operations = (File("/home/stranger/a", "x", owner="stranger", group="stranger"),)
    for expected in ("changed", "ok"):
        assert statuses(apply({alone: operations}, connect_deadline_s=20)["node-0"]) == [expected]


def test_a_dropped_connection_ends_the_command_of_root_too(node: Node) -> None:
    def stop(event: Event) -> None:
        if event.status == "progress":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        node.converge(Command("echo PROGRESS up; exec sleep 1234", progress=True), on_event=stop)
    # the next run has the lock only when the first has ended all that it ran
    assert node.converge().error is None
    assert node.run("pgrep --full '[s]leep 1234' || true") == ""


def test_a_key_lets_its_owner_in_and_leaves_with_the_others_kept(node: Node, tmp_path: Path) -> None:
    make_key(tmp_path / "new_key")
    public = (tmp_path / "new_key.pub").read_text().strip()
    user = User("lodger", "/home/lodger", "/bin/bash", system=False)
    operations = (user, AuthorizedKey("lodger", public))
    # in check mode there is no such user yet
    assert statuses(node.converge(*operations, check=True)) == ["changed", "skipped"]
    assert statuses(node.converge(*operations)) == ["changed", "changed"]
    assert statuses(node.converge(*operations)) == ["ok", "ok"]
    shown = node.run("stat -c %U:%G:%a /home/lodger/.ssh /home/lodger/.ssh/authorized_keys").split()
    assert shown == ["lodger:lodger:700", "lodger:lodger:600"]
    lodger = replace(node.target, user="lodger", private_key=(tmp_path / "new_key").read_text(), sudo=False)
    Connection.open(lodger, 20).close()
    gone = replace(operations[1], present=False)
    assert statuses(node.converge(gone)) == ["changed"]
    assert statuses(node.converge(gone)) == ["ok"]


def test_modules_and_limits(node: Node) -> None:
    limits = Limits("60-app", ("* soft nofile 4096",))
    for expected in ("changed", "ok"):
        assert statuses(node.converge(limits)) == [expected]
    assert node.run("cat /etc/security/limits.d/60-app.conf") == "* soft nofile 4096\n"
    # a container neither has modules of its own nor shows those of the machine below it
    missing = KernelModule("no_such_module")
    assert "this kernel has no module no_such_module" in str(node.converge(missing).error)
    tolerated = node.converge(replace(missing, tolerate_missing=True))
    assert statuses(tolerated) == ["skipped"]
    assert node.run("ls /etc/modules-load.d").split().count("no_such_module.conf") == 0


def test_a_module_that_is_there_and_does_not_load(node: Node) -> None:
    # in place of a kernel with modules of its own: this one finds all and loads none
    script = (
        '#!/bin/sh\n[ "$1" = --dry-run ] && echo insmod x.ko && exit\necho Key was rejected >&2; exit 1\n'
    )
    modprobe = File("/usr/local/sbin/modprobe", script, 0o755)
    module = KernelModule("unsigned_module")
    refused = node.converge(modprobe, module)
    assert "modprobe unsigned_module (exit code 1)" in str(refused.error)
    assert "Key was rejected" in str(refused.error)
    tolerated = node.converge(replace(module, tolerate_missing=True), Absent(modprobe.path))
    assert tolerated.operations[0].why == "modprobe unsigned_module: Key was rejected"
    assert statuses(tolerated) == ["skipped", "changed"]


def test_a_command_as_another_user_is_that_user_in_all_ways(node: Node) -> None:
    script = 'id -un; id -Gn; echo "$HOME"; pwd'
    result = node.converge(Command(script, user="stranger", directory="/tmp", name="who"))
    assert result.operations[0].stdout_tail.split("\n")[:-1] == [
        "stranger",
        "stranger",
        "/home/stranger",
        "/tmp",
    ]
    alone = replace(node.target, user="stranger", sudo=False)
    refused = apply({alone: (Command("id", user="ubuntu"),)}, connect_deadline_s=20)["node-0"]
    assert "only root may run a command as ubuntu" in str(refused.error)


def test_timers_are_units_and_many_of_them_need_one_reload(node: Node) -> None:
    timer = "[Timer]\nOnCalendar=daily\n[Install]\nWantedBy=timers.target\n"
    names = ("one", "two", "three")
    units = [
        File(f"/etc/systemd/system/{name}.{kind}", text)
        for name in names
        for kind, text in (("timer", timer), ("service", "[Service]\nType=oneshot\nExecStart=/bin/true\n"))
    ]

    def reloads() -> int:
        return int(node.run("journalctl --output=cat _PID=1 | grep -c '^Reloading' || true"))

    services = [Service(f"{name}.timer", running=True, enabled=True) for name in names]
    assert statuses(node.converge(*units, *services)) == ["changed"] * 9
    assert statuses(node.converge(*units, *services)) == ["ok"] * 9
    assert node.run("systemctl is-active one.timer two.timer three.timer").split() == ["active"] * 3
    assert node.run("systemctl is-enabled one.timer two.timer three.timer").split() == ["enabled"] * 3
    before = reloads()
    later = [replace(unit, content=f"[Unit]\nDescription=x\n{unit.content!s}") for unit in units]
    restarted = [
        replace(service, restart_when_changed=(f"/etc/systemd/system/{service.unit}",))
        for service in services
    ]
    assert statuses(node.converge(*later, *restarted)) == ["changed"] * 9
    assert reloads() == before + 1


BOOT = "cat /proc/sys/kernel/random/boot_id"


def test_a_reboot_in_a_play_comes_once_and_the_steps_after_it_go_on(node: Node) -> None:
    def steps(version: str) -> tuple[Operation, ...]:
        return (
            File("/etc/driver", version),
            Command("echo x >> /var/tmp/before", name="before"),
            Reboot(when_changed=("/etc/driver",), deadline_s=60),
            Command(f"{BOOT} >> /var/tmp/after", name="after"),
        )

    before = node.run(BOOT)
    events: list[Event] = []
    result = node.converge(*steps("1"), on_event=events.append)
    assert statuses(result) == ["changed"] * 4
    assert "boots anew" in [event.detail for event in events]
    assert result.operations[2].why == "booted anew"
    after = node.run(BOOT)
    assert after != before
    assert node.run("cat /var/tmp/after") == after
    assert node.run("cat /var/tmp/before") == "x\n"

    second = node.converge(*steps("1"))
    assert statuses(second) == ["ok", "changed", "ok", "changed"]
    assert node.run(BOOT) == after


def test_a_host_that_someone_boots_anew_in_the_middle(node: Node) -> None:
    hangs = "test -e /var/tmp/hung && exit; touch /var/tmp/hung; echo PROGRESS up; sleep 1000; :"
    steps = (
        Command("echo x >> /var/tmp/once", name="first"),
        Command(hangs, progress=True, name="hangs"),
        Command("echo x >> /var/tmp/once", name="last"),
    )

    def boot_anew(event: Event) -> None:
        if event.detail == "up":
            node.run("sync; systemctl reboot")

    result = node.converge(*steps, on_event=boot_anew)
    assert result.error is None
    assert statuses(result) == ["changed"] * 3
    assert node.run("cat /var/tmp/once") == "x\nx\n"
    assert node.run("ls /var/lib/ansible_like").split() == ["agent", "history.jsonl", "journal.jsonl", "lock"]


def test_one_that_cannot_boot_anew_says_so(node: Node) -> None:
    result = node.converge(
        Command("touch /run/reboot-required"),
        Command("ln -sf /bin/false /usr/local/bin/systemctl"),
        Reboot(deadline_s=5),
    )
    node.run("rm /run/reboot-required /usr/local/bin/systemctl")
    assert isinstance(result.error, StepFailed)
    assert "step 3 of 3, reboot, failed: systemctl reboot (exit code 1)" in str(result.error)
