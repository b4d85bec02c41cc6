"""What is wrong in a desired state is told before anything is sent, each thing with its way out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from ansible_like.operations import (
    KINDS,
    Absent,
    AuthorizedKey,
    Command,
    Directory,
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
    Repository,
    Service,
    Sysctl,
    User,
    WaitFor,
)
from ansible_like.problems import RULES, Problem, over_hosts, problems_of
from tests.ansible_like.test_operations import EVERY_KIND, KEY, OPENPGP_KEY

WRONG: Any = object()
VENDOR = Repository("vendor", ("https://example.org/debian",), ("stable",), ("main",), OPENPGP_KEY)


def test_every_kind_has_its_rules_and_the_right_ones_pass() -> None:
    assert RULES.keys() == set(KINDS.values())
    assert list(problems_of(EVERY_KIND)) == []


@pytest.mark.parametrize(
    "operation",
    [
        Directory("/srv"),
        File("/größe 日本", "\0"),
        File("/a", b"\xff\0", mode=0o7755, owner="1000", group="_apt"),
        Package(("g++", "libc6:i386", "xfsprogs=1:6.6.0~rc1-1+b2")),
        Sysctl({"net.ipv4.conf.all.rp_filter": "1", "net/ipv4/conf/eth0.100/rp_filter": "0 1"}),
        LineInFile("/a", "größe = 1\r", replaces="^(größe|size) ="),
        AuthorizedKey("ada", f'command="echo \\"{KEY}x",restrict {KEY} ada@home\n'),
        Limits("60-x.y", ("# all", "", "@crew - nproc 100", "ada hard core unlimited # big", "root -")),
        Service("systemd-fsck@dev-disk-by\\x2duuid.service", deadline_s=0.5),
        InstanceStore(("/dev/nvme1n1",), "/scratch", "ext4"),
        Command(("a", "", "two\nlines"), deadline_s=1_000_000, secret_stdin="a\0b"),
        Command("set -e\nmake", environment={"A": ""}, ok_codes=(0, 255)),
        WaitFor(port=65535, address="::1", deadline_s=0),
        WaitFor(url="https://me:pass@[::1]:8443/a?b=%20", status=404),
    ],
    ids=lambda operation: operation.title,
)
def test_what_can_be_done_is_not_refused(operation: Operation) -> None:
    assert list(problems_of((operation,))) == []


@pytest.mark.parametrize(
    ("operation", "field", "remedy"),
    [
        (File("/a/../b", ""), "path", "an absolute path"),
        (File("/a/", ""), "path", "an absolute path"),
        (File("//a", ""), "path", "an absolute path"),
        (File("", ""), "path", "an absolute path"),
        (File("/a\0", ""), "path", "an absolute path"),
        (File("/a", "\udcff"), "content", "text that is UTF-8"),
        (File("/a", "", mode=0o10000), "mode", "a mode such as 0o644"),
        (File("/a", "", mode=-1), "mode", "a mode such as 0o644"),
        (File("/a", "", owner=""), "owner", "a name"),
        (Directory("/a", group="a:b"), "group", "a name"),
        (Absent("/"), "path", "an absolute path"),
        (Link("/a", ""), "target", "what it points to"),
        (Link("/a", "b\0"), "target", "text that is UTF-8, without NUL"),
        (Package(()), "names", "Debian's names"),
        (Package(("jq-",)), "names", "Debian's names"),
        (Package(("jq=",)), "names", "Debian's names"),
        (Package(("--purge",)), "names", "Debian's names"),
        (Package(("jq",), lock_timeout_s=-1), "lock_timeout_s", "0 to 1000000 s"),
        (replace(VENDOR, name="../a"), "name", "a file's name"),
        (replace(VENDOR, uris=()), "uris", "where it lies"),
        (replace(VENDOR, uris=("example.org",)), "uris", "where it lies"),
        (replace(VENDOR, uris=("https://a b",)), "uris", "where it lies"),
        (replace(VENDOR, suites=()), "suites", "its suites"),
        (replace(VENDOR, suites=("a\nb",)), "suites", "its suites"),
        (replace(VENDOR, components=("main extra",)), "components", "its components"),
        (replace(VENDOR, architectures=("amd64,arm64",)), "architectures", "Debian's names"),
        (replace(VENDOR, key=""), "key", "the public key"),
        (replace(VENDOR, key=OPENPGP_KEY[:60]), "key", "the public key"),
        (replace(VENDOR, key=OPENPGP_KEY.replace("PUBLIC", "PRIVATE")), "key", "the public key"),
        (replace(VENDOR, key=b"<html>"), "key", "the public key"),
        (Group("a b"), "name", "a name"),
        (User("-r", "/", "/bin/sh"), "name", "a name"),
        (User("a", "home", "/bin/sh"), "home", "an absolute path"),
        (User("a", "/", "sh"), "shell", "an absolute path"),
        (User("a", "/", "/bin/sh", groups=("a,b",)), "groups", "names of groups"),
        (Sysctl({}), "settings", "keys such as"),
        (Sysctl({"vm.swappiness=1": "1"}), "settings", "keys such as"),
        (Sysctl({"net/../../etc/passwd": "1"}), "settings", "keys such as"),
        (Sysctl({"net..core": "1"}), "settings", "keys such as"),
        (Sysctl({"swappiness": "1"}), "settings", "keys such as"),
        (Sysctl({"vm.swappiness": "1\n2"}), "settings", "each key a value of one line"),
        (Sysctl({"vm.swappiness": " "}), "settings", "each key a value of one line"),
        (LineInFile("/a", "one\ntwo"), "line", "one line"),
        (LineInFile("/a", ""), "line", "one line"),
        (LineInFile("/a", "b", replaces="("), "replaces", "a regular expression"),
        (LineInFile("/a", "b", replaces="a{99999999999999}"), "replaces", "a regular expression"),
        (AuthorizedKey("a b", KEY), "user", "a name"),
        (AuthorizedKey("ada", "nonsense"), "key", "one whole line"),
        (AuthorizedKey("ada", f"# {KEY}"), "key", "one whole line"),
        (AuthorizedKey("ada", f"{KEY}\n{KEY}x"), "key", "one whole line"),
        (AuthorizedKey("ada", KEY[:-3]), "key", "one whole line"),
        (AuthorizedKey("ada", KEY.replace("ssh-ed25519", "ssh-rsa")), "key", "one whole line"),
        (KernelModule("a b"), "name", "a module's name"),
        (Limits("../x", ("* soft nofile 1",)), "name", "a file's name"),
        (Limits("x", ()), "lines", "lines of limits.conf"),
        (Limits("x", ("* soft nofiles 1",)), "lines", "lines of limits.conf"),
        (Limits("x", ("* soft nofile many",)), "lines", "lines of limits.conf"),
        (Limits("x", ("* soft nofile 1\n* hard nofile 1",)), "lines", "lines of limits.conf"),
        (Service("a b.service"), "unit", "a unit"),
        (Service("--now"), "unit", "a unit"),
        (Service("a.service", deadline_s=0), "deadline_s", "more than 0 s"),
        (Mount("", "/a", "ext4"), "device", "an absolute path"),
        (Mount("/dev/x", "/a b", "ext4"), "path", "an absolute path"),
        (Mount("/dev/x", "/a", ""), "filesystem", "a type of filesystem"),
        (Mount("/dev/x", "/a", "ext4", options="ro, noatime"), "options", "options as in fstab"),
        (InstanceStore((), "/a"), "devices", "the paths of the disks"),
        (InstanceStore(("nvme1n1",), "/a"), "devices", "the paths of the disks"),
        (InstanceStore(("/dev/x", "/dev/x"), "/a"), "devices", "each disk once"),
        (InstanceStore(("/dev/x",), "/a", "btrfs"), "filesystem", "ext4 or xfs"),
        (Command(()), "argv", "a command"),
        (Command(("",)), "argv", "a command"),
        (Command(" \n", name="x"), "argv", "a command"),
        (Command(("a", "b\0")), "argv", "text that is UTF-8, without NUL"),
        (Command("a", unless=()), "unless", "a command"),
        (Command("a", creates="b"), "creates", "an absolute path"),
        (Command("a", ok_codes=()), "ok_codes", "exit codes"),
        (Command("a", ok_codes=(256,)), "ok_codes", "exit codes"),
        (Command("a", environment={"A=B": ""}), "environment", "names without"),
        (Command("a", retries=-1), "retries", "0 or more"),
        (Command("a", retry_delay_s=-1), "retry_delay_s", "0 to 1000000 s"),
        (Command("a", deadline_s=0), "deadline_s", "more than 0 s"),
        (Command("a", deadline_s=float("nan")), "deadline_s", "more than 0 s"),
        (Command("a", deadline_s=float("inf")), "deadline_s", "0 to 1000000 s"),
        (Command("a", directory="b"), "directory", "an absolute path"),
        (Command("a", user=""), "user", "a name"),
        (Command("a", name="b\nc"), "name", "one line"),
        (WaitFor(port=0), "port", "a port"),
        (WaitFor(port=65536), "port", "a port"),
        (WaitFor(port=1, address=""), "address", "an address"),
        (WaitFor(path="a"), "path", "an absolute path"),
        (WaitFor(unit=""), "unit", "a unit"),
        (WaitFor(url="ftp://a"), "url", "a URL"),
        (WaitFor(url="http:///a"), "url", "a URL"),
        (WaitFor(url="http://a:port"), "url", "a URL"),
        (WaitFor(url="http://a/ü"), "url", "a URL"),
        (WaitFor(url="http://a/b c"), "url", "a URL"),
        (WaitFor(url="http://a", status=42), "status", "an HTTP status"),
    ],
)
def test_what_the_host_could_not_do_is_refused(operation: Operation, field: str, remedy: str) -> None:
    (problem,) = problems_of((operation,))
    assert problem.what.startswith(f"{field} ")
    assert problem.remedy.startswith(f"Give {remedy}")
    assert "\n" not in problem.where


def test_components_belong_to_suites_and_not_to_folders() -> None:
    for wrong in (replace(VENDOR, components=()), replace(VENDOR, suites=("stable", "./"))):
        (problem,) = problems_of((wrong,))
        assert problem.remedy == "Give components, or only suites that end with /."


def test_what_a_wait_needs() -> None:
    assert [problem.what for problem in problems_of((WaitFor(status=200),))] == [
        "waits for nothing",
        "has a status but no url",
    ]


@pytest.mark.parametrize(
    ("operation", "told"),
    [
        (Package(WRONG), "Package: names <object"),
        (Package("curl"), "Package: names 'curl' can't be used → Give tuple[str, ...]."),  # type: ignore[arg-type]
        (Package(("a", 1)), "Package: names ('a', 1) can't be used → Give tuple[str, ...]."),  # type: ignore[arg-type]
        (File("/a", "", mode="0644"), "File: mode '0644' can't be used → Give int."),  # type: ignore[arg-type]
        (File("/a", "", mode=True), "File: mode True can't be used → Give int."),
        (File("/a", WRONG), "File: content can't be used → Give str | bytes."),
        (File("/a", "", secret=1), "File: secret 1 can't be used → Give bool."),  # type: ignore[arg-type]
        (Command("a", creates=WRONG), "Command: creates <object"),
        (Command("a", deadline_s="9"), "Command: deadline_s '9' can't be used → Give float."),  # type: ignore[arg-type]
        (
            Command("a", environment={"TOKEN": 1}),  # type: ignore[dict-item]
            "Command: environment ['TOKEN'] can't be used → Give Mapping[str, str].",
        ),
        (WRONG, "object: is no operation → Give one of File, Upload, "),
    ],
)
def test_what_is_of_another_type_is_refused(operation: Operation, told: str) -> None:
    (problem,) = problems_of((operation,))
    assert f"{problem.where}: {problem.what} → {problem.remedy}".startswith(told)


def test_a_list_will_do_for_a_tuple_and_a_whole_number_for_seconds() -> None:
    assert list(problems_of((Package(["curl"]), Command(["ls"], deadline_s=9)))) == []  # type: ignore[arg-type]


def test_nothing_secret_is_told() -> None:
    operations = (
        LineInFile("/a", "hunter22\n", secret=True),
        File("/b", "hunter22\udcff", secret=True),
        Command("x", environment={"TOKEN=": "hunter22"}),
        Command("y", secret_stdin="hunter22\udcff"),
        WaitFor(url="ftp://me:hunter22@a/?token=hunter22"),
    )
    told = list(map(str, problems_of(operations)))
    assert len(told) == len(operations)
    assert "hunter22" not in "".join(told)


def test_names_and_references() -> None:
    problems = problems_of(
        (
            Service("a.service", restart_when_changed=("/etc/a", "b.service")),
            File("/etc/a", ""),
            Service("c.service", restart_when_changed=("/etc/a", "file /etc/a", "a.service")),
            File("/etc/a", ""),
        )
    )
    assert [(problem.where, problem.what) for problem in problems] == [
        ("service a.service", "no earlier operation is called '/etc/a'"),
        ("service a.service", "no earlier operation is called 'b.service'"),
        ("file /etc/a", "stands there twice"),
    ]


def test_a_problem_of_many_hosts_is_told_once() -> None:
    one, other = Problem("a", "is wrong", "Mend it."), Problem("b", "is wrong", "Mend it.")
    found = [("x", one), ("y", one), ("y", other), ("z", one)]
    assert [str(problem) for problem in over_hosts(found)] == [
        "a: is wrong (on x and 2 more)\n    → Mend it.",
        "b: is wrong (on y)\n    → Mend it.",
    ]
