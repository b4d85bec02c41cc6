"""Operations are plain data: they travel whole, hide their secrets, and have a digest."""

from __future__ import annotations

import dataclasses
import marshal
from pathlib import Path

import pytest

from ansible_like.agent import main
from ansible_like.operations import (
    KINDS,
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
    LineInFile,
    Link,
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
    decode,
    encode,
    masked_url,
    names_of,
)
from ansible_like.sources import SourceFault, digest

OPENPGP_KEY = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n\nmDMEZ\n-----END PGP PUBLIC KEY BLOCK-----\n"
KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGqm7Vy3EX8sMuTFxgM7BfVcHYhFeZ0pMv3H4uP2aGJb"
EVERY_KIND: tuple[Operation, ...] = (
    File("/etc/motd", "grüße\n", mode=0o600, secret=True),
    File("/opt/blob", b"\x00\xff"),
    Upload("/opt/tool.tar", __file__),
    Download("https://me:hunter24@mirror/tool.tar?sig=x", "/opt/other.tar", "cd" * 32),
    Directory("/srv/models", owner="vllm", group="vllm"),
    Absent("/etc/old"),
    Link("/opt/current", "/opt/v2"),
    Package(("curl", "xfsprogs=1.2"), lock_timeout_s=5),
    Repository("vendor", ("https://example.org/debian",), ("stable",), ("main",), OPENPGP_KEY),
    Repository("flat", ("file:/opt/packages",), ("./",), (), b"\x99\x01", ("amd64",)),
    Group("vllm"),
    User("vllm", "/var/lib/vllm", "/usr/sbin/nologin", groups=("video",)),
    Sysctl({"net.core.somaxconn": "4096"}, tolerate_missing=True),
    Service("vllm.service", running=True, restart_when_changed=("/etc/motd",)),
    Mount("/dev/sdf", "/models", "ext4"),
    InstanceStore(("/dev/nvme1n1", "/dev/nvme2n1"), "/scratch"),
    Command(("echo", "a b"), environment={"$base64": "x", "base64": "y"}, secret_stdin="hunter22"),
    Command("cd /tmp && ls", unless="test -e /x", when_changed=("/etc/motd",)),
    WaitFor(port=22, path="/run/x", unit="ssh.service"),
    LineInFile("/etc/environment", "TOKEN=hunter23", replaces="^TOKEN=", secret=True),
    AuthorizedKey("ubuntu", f"{KEY} ada@home"),
    KernelModule("br_netfilter", tolerate_missing=True),
    Limits("60-x", ("* soft nofile 65536",)),
    Reboot(when_changed=("/etc/motd",), name="for the driver"),
)


def test_every_kind_is_tried_here() -> None:
    assert {type(operation).__name__ for operation in EVERY_KIND} == set(KINDS)


def test_every_kind_has_its_handler() -> None:
    assert set(main.HANDLERS) == set(KINDS.values())
    for kind in KINDS.values():
        assert all(callable(function) for function in main.handler_of(kind))


@pytest.mark.parametrize("operation", EVERY_KIND, ids=lambda operation: operation.title)
def test_what_arrives_is_what_was_sent(operation: Operation) -> None:
    assert decode(marshal.loads(marshal.dumps(encode(operation), 2))) == operation  # noqa: S302 - our own


def test_a_digest_changes_with_every_field_also_with_a_secret() -> None:
    base = digest(EVERY_KIND)
    assert digest(list(EVERY_KIND)) == base
    for index, operation in enumerate(EVERY_KIND):
        if isinstance(operation, File) and operation.secret:
            changed = dataclasses.replace(operation, content="other")
            assert digest((*EVERY_KIND[:index], changed, *EVERY_KIND[index + 1 :])) != base
        if isinstance(operation, Command) and operation.secret_stdin:
            changed_command = dataclasses.replace(operation, secret_stdin="other")
            assert digest((*EVERY_KIND[:index], changed_command, *EVERY_KIND[index + 1 :])) != base
    assert digest(EVERY_KIND[:-1]) != base
    assert digest(tuple(reversed(EVERY_KIND))) != base


def test_a_digest_knows_an_upload_by_its_content_wherever_it_lies(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    here.write_text("one")
    there.write_text("one")
    assert digest((Upload("/a", str(here)),)) == digest((Upload("/a", str(there)),))
    there.write_text("two")
    assert digest((Upload("/a", str(here)),)) != digest((Upload("/a", str(there)),))
    with pytest.raises(SourceFault, match="No such file"):
        digest((Upload("/a", str(tmp_path / "nowhere")),))


def test_no_content_and_no_secret_is_in_a_repr() -> None:
    shown = repr(EVERY_KIND)
    assert "hunter22" not in shown
    assert "hunter23" not in shown
    assert "hunter24" not in shown
    assert "grüße" not in shown


def test_titles_and_names() -> None:
    assert [operation.title for operation in EVERY_KIND] == [
        "file /etc/motd",
        "file /opt/blob",
        "upload /opt/tool.tar",
        "download /opt/other.tar",
        "directory /srv/models",
        "absent /etc/old",
        "link /opt/current",
        "packages curl xfsprogs=1.2",
        "repository vendor",
        "repository flat",
        "group vllm",
        "user vllm",
        "sysctl /etc/sysctl.d/60-ansible-like.conf",
        "service vllm.service",
        "mount /models",
        "instance store /scratch",
        "command echo 'a b'",
        "command cd /tmp && ls",
        "wait for port 127.0.0.1:22, path /run/x, unit ssh.service",
        "line in /etc/environment: ^TOKEN=",
        "authorized key of ubuntu: ssh-ed25519 ada@home …4uP2aGJb",
        "kernel module br_netfilter",
        "limits 60-x",
        "reboot for the driver",
    ]
    assert Command("set -e\nmake", name="build it").title == "command build it"
    assert Command("x" * 100).title == "command " + "x" * 71 + "…"
    assert Command("set -e\nmake").title == "command set -e"
    assert names_of(Service("a.service")) == ("service a.service", "a.service")
    assert names_of(File("/a", "")) == ("file /a", "/a")


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("http://a:8/b", "http://a:8/b"),
        ("https://me:pass@a/b?sig=x#y", "https://a/b?…"),
        ("http://a?k=v/w@x", "http://a?…"),
    ],
)
def test_a_url_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert masked_url(url) == shown
    assert WaitFor(url=url).title == f"wait for url {shown}"
    assert "pass" not in repr(WaitFor(url=url))
