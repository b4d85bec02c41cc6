"""An inventory file: what it says, and everything that is wrong with it at once, with its path."""

from __future__ import annotations

import stat
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from paramiko import HostKeys
from pydantic import BaseModel, ConfigDict

from ansible_like.connection import Target
from ansible_like.play import Host
from cluster.problems import Problem
from scripts.apply_inventory import read_inventory
from scripts.apply_variables import Variables
from tests.ansible_like.conftest import make_key


@dataclass(frozen=True)
class Disk:
    device: str
    size_gib: int = 10


@dataclass(frozen=True)
class Settings:
    text: str = "up"
    port: int = 80
    token: str = ""
    disks: tuple[Disk, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.port == 666:
            raise RuntimeError("no such port")


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid")
    text: str


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make_key(tmp_path / "key")
    make_key(tmp_path / "host_key")
    return tmp_path


def host_key(folder: Path) -> str:
    return " ".join((folder / "host_key.pub").read_text().split()[:2])


def read(
    folder: Path, raw: object, kind: type[Any] | None = Settings
) -> tuple[list[Host[Any]], list[Problem]]:
    (folder / "hosts.yaml").write_text(raw if isinstance(raw, str) else yaml.safe_dump(raw, sort_keys=False))
    return read_inventory(folder / "hosts.yaml", Variables(kind) if kind else None)


def inventory(folder: Path, *, defaults: dict[str, Any] | None = None, **host: Any) -> dict[str, Any]:
    """One host with all that it needs, and the changes."""
    return {
        "defaults": {"user": "ubuntu", "privateKeyFile": "key", **(defaults or {})},
        "hosts": {"a": {"address": "10.0.0.1", "hostKeys": [host_key(folder)], **host}},
    }


def problems_of(folder: Path, raw: object, kind: type[Any] = Settings) -> dict[str, Problem]:
    hosts, problems = read(folder, raw, kind)
    assert problems
    assert len({problem.path for problem in problems}) == len(problems)
    assert hosts == []
    return {problem.path: problem for problem in problems}


def test_what_a_host_does_not_say_it_takes_from_the_defaults(folder: Path) -> None:
    key, known = (folder / "key").read_text(), (host_key(folder),)
    jump = {"address": "192.0.2.1", "user": "admin", "port": 2200, "hostKeys": [host_key(folder)]}
    raw = {
        "defaults": {
            **{"user": "ubuntu", "port": 2222, "privateKeyFile": "key", "sudo": False, "jump": jump},
            "variables": {"text": "common", "port": 81},
        },
        "hosts": {
            "b": {"address": "10.0.0.2", "hostKeys": [*known], "variables": {"port": 82}},
            "a": {
                **{"address": "10.0.0.1", "hostKeys": [*known], "user": "root", "port": 22, "sudo": True},
                "jump": None,
            },
        },
    }
    hosts, problems = read(folder, raw)
    assert problems == []
    through = Target("jump host 192.0.2.1", "192.0.2.1", "admin", key, known, port=2200, sudo=False)
    assert [host.target for host in hosts] == [
        Target("b", "10.0.0.2", "ubuntu", key, known, port=2222, jump=through, sudo=False),
        Target("a", "10.0.0.1", "root", key, known, port=22, sudo=True),
    ]
    assert [host.variables for host in hosts] == [Settings("common", 82), Settings("common", 81)]


def test_a_jump_host_may_itself_be_behind_one_and_has_its_own_port(folder: Path) -> None:
    outer = {"address": "192.0.2.1", "hostKeys": [host_key(folder)]}
    inner = {"address": "192.0.2.2", "hostKeys": [host_key(folder)], "jump": outer}
    hosts, problems = read(folder, inventory(folder, jump=inner, defaults={"port": 2222}))
    assert problems == []
    first = hosts[0].target.jump
    assert first
    assert first.jump
    assert (first.jump.address, first.jump.user, first.jump.port) == ("192.0.2.1", "ubuntu", 22)
    assert (hosts[0].target.port, hosts[0].target.sudo) == (2222, True)


def test_keys_come_from_known_hosts_by_name_by_port_and_by_hash(folder: Path) -> None:
    make_key(folder / "other")
    other = " ".join((folder / "other.pub").read_text().split()[:2])
    lines = [
        "# a comment",
        f"10.0.0.1,a.example.com {host_key(folder)} a comment",
        f"10.0.0.1\t{other.replace(' ', chr(9))}",
        f"[10.0.0.1]:2222 {other}",
        f"{HostKeys.hash_host('10.0.0.3')} {host_key(folder)}",
        "10.0.0.1 sk-ssh-ed25519@openssh.com AAAA",
        f"@cert-authority 10.0.0.4 {other}",
        "",
    ]
    (folder / "known").write_text("\n".join(lines))
    raw = {
        "knownHostsFile": "known",
        "defaults": {"user": "ubuntu", "privateKeyFile": "key"},
        "hosts": {
            "name": {"address": "10.0.0.1"},
            "port": {"address": "10.0.0.1", "port": 2222},
            "hash": {"address": "10.0.0.3"},
            "authority": {"address": "10.0.0.4"},
        },
    }
    hosts, problems = read(folder, raw)
    assert {host.name: host.target.host_keys for host in hosts} == {
        "name": (host_key(folder), other),
        "port": (other,),
        "hash": (host_key(folder),),
    }
    (problem,) = problems
    assert problem.path == "hosts.authority.hostKeys"
    assert problem.what == "no host key of 10.0.0.4 is known"


def test_a_revoked_key_is_not_known(folder: Path) -> None:
    key = host_key(folder)
    (folder / "known").write_text(f"10.0.0.1 {key}\n@revoked * {key}\n")
    raw = {**inventory(folder, hostKeys=[], port=2222), "knownHostsFile": "known"}
    assert problems_of(folder, raw)["hosts.a.hostKeys"].what == "no host key of [10.0.0.1]:2222 is known"


def test_a_known_hosts_file_that_is_torn_or_not_there(folder: Path) -> None:
    raw = {**inventory(folder, hostKeys=[]), "knownHostsFile": "known"}
    assert set(problems_of(folder, raw)) == {"knownHostsFile"}
    (folder / "known").write_text("10.0.0.1 ssh-ed25519 A\n")
    assert problems_of(folder, raw)[f"{folder}/known:1"].what == "holds a torn key"


def test_everything_is_told_at_once(folder: Path) -> None:
    (folder / "open").write_text((folder / "key").read_text())
    raw = {
        "defaults": {"usr": "ubuntu", "sudo": "yes"},
        "hosts": {
            "a": {"address": "10.0.0.1", "port": 70000, "hostKeys": ["ssh-ed25519 AAAA"]},
            "b": {"user": "root", "privateKeyFile": "none", "hostKeys": [host_key(folder)]},
            "c": {
                **{"address": "10.0.0.3", "user": "root", "privateKeyFile": "open"},
                "jump": {"address": "192.0.2.1", "hostKey": []},
                "variables": {"port": "80", "disks": [{"device": "/dev/sdb", "size_gb": 2}], "txt": 1},
            },
            "d": {"variables": "none"},
        },
    }
    problems = problems_of(folder, raw)
    assert set(problems) == {
        "defaults.usr",
        "defaults.sudo",
        "hosts.a.port",
        "hosts.a.hostKeys[0]",
        "hosts.a.user",
        "hosts.a.privateKeyFile",
        "hosts.b.address",
        "hosts.b.privateKeyFile",
        "hosts.c.privateKeyFile",
        "hosts.c.jump.hostKey",
        "hosts.c.jump.hostKeys",
        "hosts.c.jump.user",
        "hosts.c.jump.privateKeyFile",
        "hosts.c.hostKeys",
        "hosts.c.variables.port",
        "hosts.d.address",
        "hosts.d.user",
        "hosts.d.privateKeyFile",
        "hosts.d.variables",
    }
    assert problems["defaults.usr"].remedy == "Did you mean `user`?"
    assert problems["hosts.c.jump.hostKey"].remedy == "Did you mean `hostKeys`?"
    assert problems["hosts.a.port"].what == "is 70000: should be less than or equal to 65535"
    assert problems["hosts.a.port"].remedy == "Set hosts.a.port to the port of SSH, e.g. 22."
    assert problems["hosts.b.address"].remedy == "Set hosts.b.address to an address or a DNS name."
    assert problems["hosts.a.user"].remedy == "Set hosts.a.user or defaults.user to the login user."


def encrypted(folder: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", folder / "key"], check=True)


def encrypted_pem(folder: Path) -> None:
    (folder / "key").unlink()
    words = ["-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", "secret", "-f", str(folder / "key")]
    subprocess.run(["ssh-keygen", *words], check=True)


def readable(folder: Path) -> None:
    (folder / "key").chmod(0o640)


def public_half(folder: Path) -> None:
    (folder / "key").write_bytes((folder / "key.pub").read_bytes())


def nonsense(folder: Path) -> None:
    (folder / "key").write_bytes(b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n")


def binary(folder: Path) -> None:
    (folder / "key").write_bytes(b"\xff\xfe")


def gone(folder: Path) -> None:
    (folder / "key").unlink()


def directory(folder: Path) -> None:
    gone(folder)
    (folder / "key").mkdir()


@pytest.mark.parametrize(
    ("spoil", "what"),
    [
        (encrypted, "has a passphrase"),
        (encrypted_pem, "has a passphrase"),
        (readable, "has mode 0640: others may read it"),
        (public_half, "is the public half of a key"),
        (nonsense, "is no private key"),
        (binary, "is no private key"),
        (gone, "can't be read: No such file or directory"),
        (directory, "can't be read: Is a directory"),
    ],
)
def test_a_private_key_that_cannot_be_used_is_told_once(folder: Path, spoil: Any, what: str) -> None:
    raw = inventory(folder)
    raw["hosts"]["b"] = raw["hosts"]["a"]
    spoil(folder)
    problem = problems_of(folder, raw)["defaults.privateKeyFile"]
    assert problem.what == f"{folder}/key {what}"


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_every_kind_of_key_is_taken(folder: Path, kind: str) -> None:
    (folder / "key").unlink()
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", folder / "key"], check=True)
    assert stat.S_IMODE((folder / "key").stat().st_mode) == 0o600
    assert read(folder, inventory(folder))[1] == []


def test_no_secret_is_told(folder: Path) -> None:
    key = (folder / "key").read_text()
    variables = {"token": ["hunter2"], "text": {"hunter2": 1}, "port": "hunter2"}
    raw = inventory(folder, privateKeyFile=key, variables=variables)
    raw["hosts"]["b"] = {"variables": ["hunter2"], "address": "10.0.0.2"}
    told = "\n".join(map(str, problems_of(folder, raw).values()))
    assert "hunter2" not in told
    assert "PRIVATE" not in told
    assert key.splitlines()[1] not in told
    assert "hosts.a.privateKeyFile: holds a key itself" in told
    assert "hosts.a.variables.token: is a list: should be a valid string" in told
    for text in (
        "hosts:\n  a: {token: hunter2\n",
        "hosts: [{variables: {token: hunter2}}]",
        "hosts: {a: [hunter2]}",
    ):
        assert "hunter2" not in str(read(folder, text)[1])


@pytest.mark.parametrize(
    ("variables", "path", "what"),
    [
        ({"port": True}, "hosts.a.variables.port", "is a boolean: should be a valid integer"),
        ({"prt": 1}, "hosts.a.variables.prt", "is not a setting of the play's variables"),
        ({"disks": [{}]}, "hosts.a.variables.disks[0].device", "is missing"),
        (
            {"disks": [{"device": "x", "size": 1}]},
            "hosts.a.variables.disks[0].size",
            "is not a setting of the play's variables",
        ),
        ({"port": 666}, "hosts.a.variables", "the play refuses them: RuntimeError: no such port"),
    ],
)
def test_variables_are_those_of_the_play(
    folder: Path, variables: dict[str, Any], path: str, what: str
) -> None:
    problem = problems_of(folder, inventory(folder, variables=variables))[path]
    assert problem.what == what


def test_what_is_wrong_in_the_defaults_is_told_once_and_there(folder: Path) -> None:
    raw = inventory(folder, defaults={"variables": {"port": "80"}})
    raw["hosts"]["b"] = {**raw["hosts"]["a"], "variables": {"text": "b"}}
    assert set(problems_of(folder, raw)) == {"defaults.variables.port"}


def test_variables_may_be_a_pydantic_model(folder: Path) -> None:
    hosts, problems = read(folder, inventory(folder, variables={"text": "up"}), Strict)
    assert (problems, [host.variables for host in hosts]) == ([], [Strict(text="up")])
    problems_by_path = problems_of(folder, inventory(folder, variables={"txt": "up"}), Strict)
    assert set(problems_by_path) == {"hosts.a.variables.txt", "hosts.a.variables.text"}


def test_labels_may_have_any_key_and_lists_become_tuples(folder: Path) -> None:
    variables = {"labels": {"any": "thing"}, "disks": [{"device": "/dev/sdb"}]}
    hosts, problems = read(folder, inventory(folder, variables=variables))
    assert problems == []
    assert hosts[0].variables == Settings(labels={"any": "thing"}, disks=(Disk("/dev/sdb"),))


@pytest.mark.parametrize(
    ("text", "path", "what"),
    [
        ("", "hosts.yaml", "holds no mapping"),
        ("- a\n", "hosts.yaml", "holds no mapping"),
        ("hosts: {}\n", "hosts", "has no host"),
        ("hosts: [a]\n", "hosts", "is a list: should be a valid mapping"),
        ("hosts:\n  a:\n", "hosts.a", "is None: should be a valid mapping"),
        ("hosts:\n", "hosts", "is None: should be a valid mapping"),
        ("1: x\nhosts: {}\n", "[1]", "is 1: Keys should be strings"),
        ("hosts: {}\nday: 2026-13-45\n", "hosts.yaml", "is no YAML"),
        ("hosts:\n  1: {}\n", "hosts[1]", "is 1: should be a valid string"),
        ("hosts:\n  a: {\n", "hosts.yaml:3", "is no YAML: expected the node content"),
        ("hosts: !vault x\n", "hosts.yaml:1", "is no YAML: could not determine a constructor"),
        ("hosts: \x00\n", "hosts.yaml", "is no YAML"),
        ("hosts:\n  a: {}\n  b: {}\n  a: {}\n", "hosts.yaml:4", "`a` stands there twice"),
        ("hosts: &a\n  a: *a\n", "hosts.a.a", "is not a setting of an inventory"),
    ],
)
def test_a_file_that_is_no_inventory(folder: Path, text: str, path: str, what: str) -> None:
    found = {problem.path.removeprefix(f"{folder}/"): problem for problem in read(folder, text)[1]}
    assert found[path].what.startswith(what)
    assert "_" not in found[path].what
    assert len(found) == {"hosts.a.a": 4, "[1]": 2}.get(path, 1)


def test_a_merged_key_is_not_there_twice(folder: Path) -> None:
    text = yaml.safe_dump(inventory(folder)) + "  b:\n    <<: {address: 10.0.0.2}\n    address: 10.0.0.1\n"
    assert {problem.path for problem in read(folder, text)[1]} == {"hosts.b.hostKeys"}


def test_a_file_that_is_not_there_or_no_text(folder: Path) -> None:
    assert read_inventory(folder / "none.yaml", None)[1][0].path == "--hosts"
    (folder / "hosts.yaml").write_bytes(b"\xff\xfe\xfa")
    assert read_inventory(folder / "hosts.yaml", None)[1][0].what == "is no UTF-8 text"


def test_without_a_play_the_rest_is_still_examined(folder: Path) -> None:
    hosts, problems = read(folder, inventory(folder, port=0, variables={"anything": 1}), None)
    assert (hosts, [problem.path for problem in problems]) == ([], ["hosts.a.port"])
