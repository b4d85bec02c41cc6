"""The example of docs/apply.md: read as it is, and run for real where only a folder is ours."""

from __future__ import annotations

import getpass
import grp
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from rehearsal import paths
from scripts.apply_input import compiled
from scripts.drydock import app
from tests.ansible_like.conftest import Sshd, free_port, serve

EXAMPLES = paths.REPO / "docs/examples"
SYSTEMCTL = """\
#!/bin/sh
state=$(cat {folder}/active 2>/dev/null || echo inactive)
case "$*" in
"show --property=ActiveState --value "*) echo "$state" ;;
"show "*) echo "ActiveState=$state"; cat {folder}/properties ;;
*) echo "$*" >> {folder}/systemctl.log; echo active > {folder}/active ;;
esac
"""
"""Enough of systemd for one unit, where the machine that runs the tests has none."""


@pytest.fixture
def server(sshd: Sshd, tmp_path: Path) -> Iterator[Sshd]:
    """An sshd whose sessions find our systemctl first."""
    for name in ("host_key", "host_key.pub", "user_key", "user_key.pub", "authorized_keys"):
        (tmp_path / name).write_bytes((sshd.folder / name).read_bytes())
        (tmp_path / name).chmod(0o600)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/systemctl").write_text(SYSTEMCTL.format(folder=tmp_path))
    (tmp_path / "bin/systemctl").chmod(0o755)
    (tmp_path / "properties").write_text("LoadState=loaded\nUnitFileState=enabled\nNeedDaemonReload=no\n")
    with serve(tmp_path, free_port(), f"SetEnv PATH={tmp_path}/bin:/usr/bin:/bin\n") as server:
        yield server


def inventory(server: Sshd) -> dict[str, Any]:
    """The example's own, with every host on this machine."""
    raw: dict[str, Any] = yaml.safe_load((EXAMPLES / "hosts.yaml").read_text())
    raw["knownHostsFile"] = "known_hosts"
    raw["defaults"] |= {"user": getpass.getuser(), "privateKeyFile": "user_key", "sudo": False}
    known = [f"[127.0.0.1]:{server.port} {server.host_key}"]
    (server.folder / "known_hosts").write_text("\n".join(known))
    for name, host in raw["hosts"].items():
        host |= {"address": "127.0.0.1", "port": server.port, "hostKeys": []}
        if "jump" in host:
            host["jump"] |= {"address": "127.0.0.1", "port": server.port, "user": getpass.getuser()}
        root = server.folder / name
        for folder in ("etc/sysctl.d", "etc/systemd/system"):  # which every host has
            (root / folder).mkdir(parents=True)
        own = {"root": str(root), "owner": getpass.getuser(), "sysctl": {}}
        if os.geteuid() == 0:  # root's file, with what the kernel has anyway
            now = Path("/proc/sys/net/core/somaxconn").read_text().strip()
            own["sysctl"] = {"net.core.somaxconn": now}
        host["variables"] = host.get("variables", {}) | own
    return raw


def apply(server: Sshd, *options: str) -> list[dict[str, Any]]:
    argv = [sys.executable, "-m", "scripts.drydock", "apply", str(EXAMPLES / "status_page.py"), "--json"]
    where = ["--hosts", str(server.folder / "hosts.yaml"), "--state-directory", str(server.folder / "state")]
    done = subprocess.run(
        [*argv, *where, *options], cwd=paths.REPO, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def outcomes(said: list[dict[str, Any]]) -> dict[str, str]:
    return {host["host"]: host["outcome"] for host in said[-1]["hosts"]}


@pytest.mark.skipif(
    getpass.getuser() != grp.getgrgid(os.getgid()).gr_name, reason="the example's group is named as its owner"
)
def test_it_checks_then_runs_then_has_nothing_to_do(server: Sshd) -> None:
    (server.folder / "hosts.yaml").write_text(yaml.safe_dump(inventory(server), sort_keys=False))
    log = server.folder / "systemctl.log"

    checked = apply(server, "--check", "--diff")
    assert outcomes(checked) == dict.fromkeys(("node-0", "node-1", "node-2"), "changed")
    assert any(each.get("diff", "") and "+node-0: up" in each["diff"] for each in checked[:-1])
    assert not log.exists()
    assert not [path for path in (server.folder / "node-0").rglob("*") if path.is_file()]

    first = apply(server)
    assert outcomes(first) == dict.fromkeys(("node-0", "node-1", "node-2"), "changed")
    assert (server.folder / "node-2/srv/status-page/index.html").read_text() == "node-2: up\n"
    unit = (server.folder / "node-1/etc/systemd/system/status-page.service").read_text()
    assert "http.server 8081" in unit
    assert log.read_text().count("start status-page.service") == 3

    second = apply(server)
    assert outcomes(second) == dict.fromkeys(("node-0", "node-1", "node-2"), "ok")
    assert log.read_text().count("start status-page.service") == 3


def test_the_page_shows_what_is_there(server: Sshd) -> None:
    page = (paths.REPO / "docs/apply.md").read_text()
    blocks = dict(re.findall(r"```(python|yaml)\n(.*?)```", page, flags=re.DOTALL))
    assert blocks["python"] in (EXAMPLES / "status_page.py").read_text()
    assert blocks["yaml"] in (EXAMPLES / "hosts.yaml").read_text()

    command = typer.main.get_command(app).commands["apply"]  # type: ignore[attr-defined]
    options = {option for each in command.params for option in each.opts if option.startswith("--")}
    assert {option for option in options if f"`{option}" not in page} == set()

    (server.folder / "hosts.yaml").write_text(yaml.safe_dump(inventory(server), sort_keys=False))
    table = page.partition("## JSON lines")[2]
    said = apply(server, "--check", "--limit", "node-0")
    assert {key for each in said for key in each if f"`{key}`" not in table} == set()


def test_its_inventory_and_play_are_right_as_they_stand(
    server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the user's own key and known_hosts, that is."""
    home = server.folder / "home"
    (home / ".ssh").mkdir(parents=True)
    key = home / ".ssh/id_ed25519"
    key.write_text(server.private_key)
    key.chmod(0o600)
    places = "10.0.0.10,[10.0.0.11]:2222,bastion.example.com"
    (home / ".ssh/known_hosts").write_text(f"{places} {server.host_key}\n")
    monkeypatch.setenv("HOME", str(home))
    rollout = compiled(str(EXAMPLES / "status_page.py"), EXAMPLES / "hosts.yaml", None, (), ())
    assert [[target.name for target in batch] for batch in rollout.batches] == [
        ["node-0"],
        ["node-1"],
        ["node-2"],
    ]
    (last,) = rollout.batches[2]
    assert last.jump
    assert (last.jump.address, last.jump.user) == ("bastion.example.com", "admin")
    assert [operation.title for operation in rollout.batches[0][next(iter(rollout.batches[0]))]] == [
        "sysctl /etc/sysctl.d/60-status-page.conf",
        "directory /srv/status-page",
        "file /srv/status-page/index.html",
        "file /etc/systemd/system/status-page.service",
        "service status-page.service",
    ]
