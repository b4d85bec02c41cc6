"""Each peer's command line and settings for a workload on given hosts."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rehearsal.paths import REPO
from scripts.ssh_bench import environments
from scripts.ssh_bench.fleet import Host
from scripts.ssh_bench.workloads import BLOB

RUN = Path(__file__).parent / "run"
ENGINE, SSH, ANSIBLE, MITOGEN, PYINFRA, FABRIC = "engine", "ssh", "ansible", "mitogen", "pyinfra", "fabric"
ALL = (ENGINE, SSH, ANSIBLE, MITOGEN, PYINFRA, FABRIC)
PERSIST_S = 600
"""How long Ansible's connections stay open: from a first pass to the second one in any case."""

SSH_CONFIG = """\
Host *
  User root
  IdentityFile {key}
  IdentitiesOnly yes
  UserKnownHostsFile {folder}/known_hosts
  GlobalKnownHostsFile /dev/null
  StrictHostKeyChecking yes
  LogLevel ERROR
"""
ANSIBLE_CONFIG = """\
[defaults]
forks = {forks}
inventory = {folder}/inventory.json
gathering = explicit
retry_files_enabled = False
internal_poll_interval = 0.001
{strategy}
[ssh_connection]
pipelining = True
ssh_args = -F {folder}/ssh_config -o ControlMaster=auto -o ControlPersist={persist}
control_path_dir = {folder}/cp
"""


@dataclass(frozen=True)
class Invocation:
    """A command of a peer."""

    argv: tuple[str, ...]
    environment: dict[str, str] = field(default_factory=dict)


def furnish(folder: Path, hosts: Sequence[Host], private_key: Path) -> None:
    """Write what the peers know of the hosts: one set of files for all peers."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cp").mkdir(exist_ok=True)
    config = [SSH_CONFIG.format(key=private_key, folder=folder)]
    config += [f"Host {each.name}\n  HostName {each.address}\n  Port {each.port}\n" for each in hosts]
    (folder / "ssh_config").write_text("".join(config))
    known = [f"{_known_as(each)} {each.host_key}\n" for each in hosts]
    (folder / "known_hosts").write_text("".join(known))
    (folder / "hosts").write_text("".join(f"{each.name}\n" for each in hosts))
    rows = [
        {"name": each.name, "address": each.address, "port": each.port, "host_key": each.host_key}
        for each in hosts
    ]
    (folder / "hosts.json").write_text(json.dumps({"private_key": str(private_key), "hosts": rows}))
    python = {"ansible_python_interpreter": "/usr/bin/python3"}
    ansible = {
        each.name: {
            "ansible_host": each.address, "ansible_port": each.port, "ansible_user": "root",
            "ansible_ssh_private_key_file": str(private_key),
        }
        for each in hosts
    }  # fmt: skip
    (folder / "inventory.json").write_text(json.dumps({"all": {"hosts": ansible, "vars": python}}))
    pyinfra = [
        (
            each.name,
            {
                "ssh_hostname": each.address, "ssh_port": each.port, "ssh_user": "root",
                "ssh_key": str(private_key), "ssh_known_hosts_file": str(folder / "known_hosts"),
                "ssh_strict_host_key_checking": "yes", "ssh_look_for_keys": False, "ssh_allow_agent": False,
                "ssh_config_file": "/dev/null",
            },
        )
        for each in hosts
    ]  # fmt: skip
    (folder / "inventory.py").write_text(f"hosts = {pyinfra!r}\n")
    plugins = next(environments.place("ansible").glob("lib/*/site-packages/ansible_mitogen/plugins/strategy"))
    mitogen = f"strategy_plugins = {plugins}\nstrategy = mitogen_linear"
    for name, strategy in ((ANSIBLE, ""), (MITOGEN, mitogen)):
        (folder / f"{name}.cfg").write_text(
            ANSIBLE_CONFIG.format(forks=len(hosts), folder=folder, strategy=strategy, persist=PERSIST_S)
        )


def invocation(peer: str, workload: str, folder: Path, play: Path, hosts: int) -> Invocation:
    """How a peer does a workload, on hosts that were furnished in ``folder``."""
    argv: tuple[str, ...]
    if peer == ENGINE:
        argv = (sys.executable, "-m", "scripts.ssh_bench.run.with_engine", f"{folder}/hosts.json", str(play))
        return Invocation(argv, {"PYTHONPATH": str(REPO)})
    if peer == SSH:
        each = f"exec ssh -F {folder}/ssh_config {{}} sh -s < {play}/script.sh"
        if workload == "W5":
            each = f"exec scp -q -F {folder}/ssh_config {play}/files/000 {{}}:{BLOB}"
        return Invocation(("xargs", f"-P{hosts}", "-a", f"{folder}/hosts", "-I{}", "sh", "-c", each))
    if peer in (ANSIBLE, MITOGEN):
        argv = (str(environments.place("ansible") / "bin/ansible-playbook"), str(play / "playbook.yml"))
        return Invocation(argv, {"ANSIBLE_CONFIG": str(folder / f"{peer}.cfg")})
    if peer == PYINFRA:
        pyinfra = str(environments.place("pyinfra") / "bin/pyinfra")
        argv = (pyinfra, "-y", "--parallel", str(hosts), f"{folder}/inventory.py")
        return Invocation((*argv, str(RUN / "pyinfra_deploy.py")), {"BENCH_PLAY": str(play / "play.json")})
    if peer == FABRIC:
        python = str(environments.place("fabric") / "bin/python")
        return Invocation((python, str(RUN / "with_fabric.py"), f"{folder}/hosts.json", str(play)))
    raise ValueError(peer)


def _known_as(host: Host) -> str:
    return host.address if host.port == 22 else f"[{host.address}]:{host.port}"
