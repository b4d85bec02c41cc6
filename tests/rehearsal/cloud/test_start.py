"""What `start` refuses before it touches anything, and what it says; who holds the lock."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from cluster.problems import BadInput, Failure, Problem
from rehearsal import cloud
from rehearsal.cloud import lock, places
from rehearsal.cloud.shell import run


@pytest.fixture(autouse=True)
def own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A state folder and a port of the test's own."""
    monkeypatch.setattr(places, "CLOUD", tmp_path / "state" / "cloud")
    monkeypatch.setattr(places, "LOCK", tmp_path / "state" / "cloud.lock")
    monkeypatch.setattr(cloud, "_MODE", tmp_path / "state" / "cloud" / "mode")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(places, "API_PORT", free.getsockname()[1])


def refusal(boot: bool = False) -> tuple[Problem, ...]:
    with pytest.raises(BadInput) as caught:
        cloud.start(boot=boot)
    return caught.value.problems


def test_another_system(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "darwin")
    (problem,) = refusal()
    assert problem.path == "platform"
    assert "darwin" in problem.what


def test_not_root(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert "user" in [problem.path for problem in refusal(boot=True)]


def test_missing_tools_are_all_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    named = {problem.path: problem.remedy for problem in refusal(boot=True)}
    assert "systemd-container" in named["systemd-nspawn"]
    assert "nftables" in named["nft"]


def test_port_taken_names_the_holder() -> None:
    with socket.create_server(("127.0.0.1", places.API_PORT)):
        (problem,) = refusal()
    assert problem.path == f"port {places.API_PORT}"
    assert f"pid={os.getpid()}" in problem.what


def test_disk_too_full(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cloud, "FREE_GIB", 10**9)
    (problem,) = refusal()
    assert "GiB free" in problem.what
    assert "DRYDOCK_STATE" in problem.remedy


def test_one_runs_already() -> None:
    with lock.sole() as since:
        (problem,) = refusal()
    assert problem.path == "cloud"
    assert f"pid {os.getpid()}, since {since}" in problem.what
    assert lock.holder() is None


def test_the_lock_goes_with_its_process() -> None:
    places.LOCK.parent.mkdir(parents=True)
    code = (
        "import os\nfrom pathlib import Path\nfrom rehearsal.cloud import lock, places\n"
        f"places.LOCK = Path({str(places.LOCK)!r})\n"
        "with lock.sole():\n    os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert lock.holder() is None


def test_a_second_daemon_is_turned_away() -> None:
    with lock.sole(), pytest.raises(lock.Running, match=f"pid {os.getpid()}"), lock.sole():
        pass


def test_the_kind_of_cloud_left_behind_counts() -> None:
    places.CLOUD.mkdir(parents=True)
    (places.CLOUD / "mode").write_text("nodes that boot")
    (problem,) = refusal(boot=False)
    assert "drydock rehearsal stop" in problem.remedy


def test_status_without_a_cloud(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "ENDPOINT", f"http://127.0.0.1:{places.API_PORT}")
    assert cloud.status().pid is None
    assert str(cloud.status()) == "no cloud runs"


def test_a_failed_command_is_told_in_full() -> None:
    with pytest.raises(Failure, match=r"`sh -c echo why >&2; exit 3` ended with exit code 3: why"):
        run("sh", "-c", "echo why >&2; exit 3")
    with pytest.raises(Failure, match="`no-such-program` is not installed"):
        run("no-such-program")


@pytest.mark.parametrize(
    ("rules", "remedies"),
    [
        ("-P $2 ACCEPT", []),
        ("-P $2 DROP", ["iptables -I FORWARD -i dd-+ -j ACCEPT; iptables -I FORWARD -o dd-+ -j ACCEPT"]),
        ("-P $2 DROP; echo -A $2 -i dd-+ -j ACCEPT", []),
    ],
)
def test_chains_that_would_cut_nodes_off(
    rules: str, remedies: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As Docker leaves them; the program is a stand-in, for the real rules are this machine's own."""
    program = tmp_path / "iptables"
    program.write_text(f"#!/bin/sh\necho {rules}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setattr(cloud, "FREE_GIB", 10**9)  # so that start refuses in any case
    found = [problem.remedy for problem in refusal(boot=True) if problem.path == "iptables FORWARD"]
    assert found == remedies
