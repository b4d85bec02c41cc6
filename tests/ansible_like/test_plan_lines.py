"""Single lines, authorized keys, modules and limits as data: facts and arguments → exact actions."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_like.agent import kernel
from ansible_like.agent.files import PathFacts
from ansible_like.agent.lines import KeyFacts, plan_key, plan_line
from ansible_like.agent.values import MakeDirectory, Plan, Refused, Run, SetAttributes, WriteFile
from ansible_like.operations import AuthorizedKey, KernelModule, Limits, LineInFile


def file(content: bytes) -> PathFacts:
    return PathFacts("file", 0o640, "app", "crew", content)


def edited(op: LineInFile, content: bytes) -> bytes | None:
    """What the file holds afterwards; None: it is left alone. A second run must leave it alone."""
    plan = plan_line(op, file(content))
    if not plan.actions:
        return None
    (write,) = plan.actions
    assert isinstance(write, WriteFile)
    assert write[2:] == (0o640, "app", "crew")
    assert plan_line(op, file(write.content)).actions == ()
    return write.content


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"", b"new\n"),
        (b"a\n", b"a\nnew\n"),
        (b"a", b"a\nnew\n"),
        (b"a\n\n", b"a\n\nnew\n"),
        (b"\xff\r\n", b"\xff\r\nnew\n"),
        (b"a\nnew\nb", None),
        (b"new", None),
        (b"k=1\nb\n", b"new\nb\n"),
        (b"a\nk=1", b"a\nnew\n"),
        (b"k=1\nb\nk=2\n", b"new\nb\n"),
        (b"new\nk=1\nb\n", b"new\nb\n"),
        (b"new\nk=1", b"new\n"),
    ],
)
def test_a_line_that_replaces_others(before: bytes, after: bytes | None) -> None:
    assert edited(LineInFile("/a", "new", replaces="^k="), before) == after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a\nold\nb\nold\n", b"a\nb\n"),
        (b"old\n", b""),
        (b"a\nold", b"a\n"),
        (b"old", b""),
        (b"older\n", None),
        (b"", None),
    ],
)
def test_a_line_that_goes(before: bytes, after: bytes | None) -> None:
    assert edited(LineInFile("/a", "old", present=False), before) == after


def test_a_line_says_why_and_what() -> None:
    op = LineInFile("/a", "k=2", replaces="^k=")
    assert plan_line(op, file(b"k=2\n")).why == "the line is there"
    assert plan_line(op, file(b"k=1\n")).diff == "- k=1\n+ k=2"
    secret = LineInFile("/a", "k=2", replaces="^k=", secret=True)
    assert plan_line(secret, file(b"k=1\n")).diff == "± /a: the line is secret and not shown"
    assert plan_line(LineInFile("/a", "x", present=False), PathFacts()).why == "there is no /a"


@pytest.mark.parametrize(
    ("facts", "says"),
    [
        (PathFacts(), "there is no /a: make it with File"),
        (PathFacts("link", target="/b"), "is a link to /b: name that file"),
        (PathFacts("directory"), "is a directory"),
    ],
)
def test_only_files_have_lines(facts: PathFacts, says: str) -> None:
    with pytest.raises(Refused, match=says):
        plan_line(LineInFile("/a", "x"), facts)


BLOB = "ssh-ed25519 AAAAC3NzaC1"
FOLDER = PathFacts("directory", 0o700, "ada", "ada")
HOME = KeyFacts("/home/ada", "ada", FOLDER, PathFacts())
PATH = "/home/ada/.ssh/authorized_keys"


def keys(text: str, mode: int = 0o600) -> KeyFacts:
    return HOME._replace(file=PathFacts("file", mode, "ada", "ada", text.encode()))


def test_a_first_key_brings_its_folder() -> None:
    plan = plan_key(AuthorizedKey("ada", f"{BLOB} x"), HOME._replace(folder=PathFacts()))
    assert plan.actions == (
        MakeDirectory("/home/ada/.ssh", 0o700, "ada", "ada"),
        WriteFile(PATH, f"{BLOB} x\n".encode(), 0o600, "ada", "ada"),
    )


def test_a_key_is_known_by_key_and_options_not_by_its_comment() -> None:
    op = AuthorizedKey("ada", f"{BLOB} x")
    assert plan_key(op, keys(f"# {BLOB}\n{BLOB}  other comment\n")).actions == ()
    options = AuthorizedKey("ada", f'command="echo {BLOB}2",restrict {BLOB} x')
    (write,) = plan_key(options, keys(f"ssh-rsa AAAAother\n{BLOB} x\n")).actions
    assert isinstance(write, WriteFile)
    assert write.content.decode() == f"ssh-rsa AAAAother\n{options.key}\n"
    assert plan_key(options, keys(write.content.decode())).actions == ()


def test_a_key_that_goes_takes_no_other_with_it() -> None:
    op = AuthorizedKey("ada", BLOB, present=False)
    (write,) = plan_key(op, keys(f"{BLOB}2 x\n{BLOB} y\n")).actions
    assert isinstance(write, WriteFile)
    assert write.content.decode() == f"{BLOB}2 x\n"
    assert plan_key(op, keys(f"{BLOB}2 x\n")).why == "no such key"
    assert plan_key(op, HOME).why == "no such key"


def test_modes_that_sshd_would_refuse_are_mended() -> None:
    open_to_all = keys(f"{BLOB}\n", 0o666)._replace(folder=FOLDER._replace(mode=0o755))
    assert plan_key(AuthorizedKey("ada", BLOB), open_to_all).actions == (
        SetAttributes("/home/ada/.ssh", 0o700, "ada", "ada"),
        SetAttributes(PATH, 0o600, "ada", "ada"),
    )


@pytest.mark.parametrize(
    ("key", "facts", "says"),
    [
        ("nonsense", HOME, "not a line of authorized_keys"),
        (BLOB, HOME._replace(home=None), "no user 'ada'"),
        (BLOB, HOME._replace(home=""), "no home directory"),
        (BLOB, HOME._replace(folder=PathFacts("link")), "/home/ada/.ssh is a link"),
        (BLOB, HOME._replace(file=PathFacts("link")), "authorized_keys is a link"),
    ],
)
def test_keys_that_cannot_be_given(key: str, facts: KeyFacts, says: str) -> None:
    with pytest.raises(Refused, match=says):
        plan_key(AuthorizedKey("ada", key), facts)


MODULE = KernelModule("br_netfilter")
CONF = WriteFile("/etc/modules-load.d/br_netfilter.conf", b"br_netfilter\n", 0o644, "root", "root")
AT_BOOT = PathFacts("file", 0o644, "root", "root", b"br_netfilter\n")


def test_a_module_now_and_at_boot() -> None:
    assert kernel.plan_module(MODULE, kernel.ModuleFacts(PathFacts(), False)).actions == (
        CONF,
        Run(("modprobe", "br_netfilter")),
    )
    assert kernel.plan_module(MODULE, kernel.ModuleFacts(PathFacts(), True)).actions == (CONF,)
    assert kernel.plan_module(MODULE, kernel.ModuleFacts(AT_BOOT, True)) == Plan(
        why="loaded, now and at boot"
    )


@pytest.mark.skipif(not Path("/sys/module").is_dir(), reason="no /sys/module here")
def test_a_module_that_this_kernel_has_is_seen_with_either_spelling() -> None:
    there = next(path.name for path in Path("/sys/module").iterdir() if "_" in path.name)
    assert kernel.read_module(KernelModule(there)).loaded
    assert kernel.read_module(KernelModule(there.replace("_", "-"))).loaded


def test_a_module_that_the_kernel_does_not_have() -> None:
    facts = kernel.ModuleFacts(PathFacts(), False, "not found")
    with pytest.raises(Refused, match="set tolerate_missing"):
        kernel.plan_module(MODULE, facts)
    tolerant = KernelModule("br_netfilter", tolerate_missing=True)
    plan = kernel.plan_module(tolerant, facts)
    assert (plan.actions, plan.skipped) == ((), True)
    loads = kernel.plan_module(tolerant, kernel.ModuleFacts(AT_BOOT, False))
    assert loads.actions == (Run(("modprobe", "br_netfilter"), tolerated=True),)


def test_limits_are_a_file() -> None:
    op = Limits("60-x", ("* soft nofile 1", "* hard nofile 2"))
    (write,) = kernel.plan_limits(op, PathFacts()).actions
    assert write == WriteFile(
        "/etc/security/limits.d/60-x.conf", b"* soft nofile 1\n* hard nofile 2\n", 0o644, "root", "root"
    )
