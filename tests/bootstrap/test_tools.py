"""The nodes' small tools, run for real where they can be."""

import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from bootstrap.rendering import TEMPLATES

TOOLS = TEMPLATES / "opt/drydock/bin"
GOLDEN = Path(__file__).parents[1] / "golden" / "nodes"


def run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, str(TOOLS / tool), *arguments]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


def test_a_peer_that_listens_or_refuses_is_reached_and_a_silent_one_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_server(("127.0.0.1", 0)) as full:
        # A listener whose queue is full drops what comes, as a firewall does.
        full.listen(0)
        silent = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", silent))
        with socket.create_server(("127.0.0.1", 0)) as gone:
            refused = gone.getsockname()[1]
        ports = f"{listening.getsockname()[1]},{refused},{silent}"
        done = run("check-peers", ports, "127.0.0.1")
        for each in waiting:
            each.close()
    assert (done.returncode, done.stdout) == (0, f"127.0.0.1 {silent}\n"), done.stderr


def test_a_node_without_a_gpu_is_told_what_it_lacks() -> None:
    if Path("/proc/driver/nvidia/version").exists():
        pytest.skip("this machine has a GPU")
    done = run("check-gpu", "--gpus", "8", "--name", "H100", "--driver", "580", "--efa", "32")
    assert done.returncode == 1
    assert "the NVIDIA driver is not loaded: reboot the node" in done.stderr
    assert "fi_info finds no EFA" in done.stderr


def test_a_volume_that_is_not_attached_is_named() -> None:
    done = run("name-disks", "--data", "/dev/sdzz")
    assert done.returncode == 1
    assert "no volume is attached as /dev/sdzz; this node has:" in done.stderr


@pytest.mark.skipif(not shutil.which("nft"), reason="nft is not installed here")
def test_the_firewall_is_good_nftables(tmp_path: Path) -> None:
    for rules in GOLDEN.rglob("drydock.nft"):
        done = subprocess.run(
            ["nft", "--check", "--file", str(rules)], capture_output=True, text=True, check=False
        )
        if "Operation not permitted" in done.stderr:
            pytest.skip("nft needs root, also to check")
        assert done.returncode == 0, done.stderr


def test_every_port_that_the_spec_opens_is_open() -> None:
    for rules in GOLDEN.rglob("drydock.nft"):
        assert re.search(r"tcp dport \{ 22, 8000 \} accept", rules.read_text())
