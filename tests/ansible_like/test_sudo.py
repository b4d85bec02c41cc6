"""Becoming root through a real sudo: with a password, without one, with a wrong one, and when it hangs."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from ansible_like import elevation
from ansible_like.connection import Connection, Target
from ansible_like.operations import Command
from ansible_like.result import CommandFailed, Event, StepFailed, SudoRefused
from ansible_like.runner import apply
from tests.ansible_like import test_node
from tests.ansible_like.test_node import Node, statuses

pytestmark = pytest.mark.e2e

node = test_node.node
PASSWORD = "pass wörd'$x"


@pytest.fixture(scope="module")
def keeper(node: Node) -> Target:
    """A user whom sudo asks for a password, and gives its lecture each time."""
    node.run(
        "useradd --create-home --shell /bin/bash keeper && cp -r /home/ubuntu/.ssh /home/keeper/"
        " && chown -R keeper: /home/keeper/.ssh"
    )
    with Connection.open(node.target, 20) as connection:
        connection.run(["chpasswd"], sudo=True, stdin=f"keeper:{PASSWORD}\n".encode())
    return replace(node.target, name="kept", user="keeper", sudo_password=PASSWORD)


@contextmanager
def sudoers(node: Node, *lines: str) -> Iterator[None]:
    text = "\\n".join(lines)
    node.run(f"printf '{text}\\n' > /etc/sudoers.d/keeper")
    try:
        yield
    finally:
        node.run("rm -rf /etc/sudoers.d/keeper /run/sudo/ts")


ASKS = ("keeper ALL=(ALL) ALL", "Defaults:keeper lecture=always,passwd_tries=3")
RULES = {
    "asked after a lecture": ASKS,
    "asked once": ("keeper ALL=(ALL) ALL", "Defaults:keeper lecture=never,passwd_tries=1"),
    "not asked": ("keeper ALL=(ALL) NOPASSWD:ALL",),
    "asked the first time": ("keeper ALL=(ALL) ALL", "Defaults:keeper timestamp_type=global"),
}


@pytest.mark.parametrize("rules", RULES.values(), ids=RULES)
def test_only_sudo_reads_the_password_and_only_the_command_reads_its_stdin(
    node: Node, keeper: Target, rules: tuple[str, ...]
) -> None:
    with sudoers(node, *rules), Connection.open(keeper, 20) as connection:
        for _ in range(2):
            read = connection.run("id -un; echo err >&2; cat", sudo=True, stdin=b"a\0\nb")
            assert (read.stdout, read.stderr) == ("root\na\0\nb", "err\n")
        assert connection.run("id -un; cat").stdout == "keeper\n"
        result = apply({keeper: (Command("id -un; cat", secret_stdin="for the command", name="who"),)})
    assert statuses(result["kept"]) == ["changed"]
    assert result["kept"].operations[0].stdout_tail == "root\n********"


@pytest.mark.parametrize("tries", [1, 3])
def test_a_wrong_password_is_given_once_and_told(node: Node, keeper: Target, tries: int) -> None:
    wrong = replace(keeper, sudo_password="wrong-password")
    before = failures(node)
    with sudoers(node, "keeper ALL=(ALL) ALL", f"Defaults:keeper passwd_tries={tries}"):
        result = apply({wrong: (Command("id"),)})["kept"]
        with (
            Connection.open(wrong, 20) as connection,
            pytest.raises(SudoRefused, match="may not become root"),
        ):
            connection.run("id", sudo=True, stdin=b"not a password")
    assert isinstance(result.error, SudoRefused)
    assert str(result.error).startswith("kept: keeper may not become root: sudo did not ")
    assert "give sudo the right password" in str(result.error)
    assert "wrong-password" not in str(result.error)
    assert "-n" not in str(result.error)
    assert failures(node) - before == 2, "one attempt for each of the two"


def failures(node: Node) -> int:
    """How many passwords sudo was given in vain."""
    script = (
        "journalctl --sync; journalctl --output=cat --identifier=sudo | grep -c '^pam.* failure;' || true"
    )
    return int(node.run(script))


def test_who_is_not_in_the_sudoers_is_told_so(node: Node, keeper: Target) -> None:
    result = apply({keeper: (Command("id"),)})["kept"]
    assert isinstance(result.error, SudoRefused)
    assert "not in the sudoers file" in str(result.error)


def test_without_the_password_the_way_out_names_it(node: Node, keeper: Target) -> None:
    with sudoers(node, *ASKS):
        result = apply({replace(keeper, sudo_password=None): (Command("id"),)})["kept"]
    assert "sudo: a password is required" in str(result.error)
    assert "give its password (sudo_password)" in str(result.error)


def test_a_password_of_two_lines_is_refused_before_anything_is_sent(node: Node, keeper: Target) -> None:
    result = apply({replace(keeper, sudo_password=PASSWORD + "\n"): (Command("id"),)})["kept"]
    assert "the password for sudo has more than one line" in str(result.error)


def test_a_sudo_that_hangs_is_given_up(node: Node, keeper: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(elevation, "ANSWER_S", 1.0)
    node.run("mv /home/keeper/.bashrc /tmp/kept; echo 'sudo() { cat; }' > /home/keeper/.bashrc")
    try:
        result = apply({keeper: (Command("id"),)})["kept"]
    finally:
        node.run("mv /tmp/kept /home/keeper/.bashrc")
    assert isinstance(result.error, SudoRefused)
    assert "sudo neither asked for a password nor started the command within 1 s" in str(result.error)


def test_the_password_is_in_no_text(node: Node, keeper: Target, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    events: list[Event] = []
    leak = "cat /root/leak"
    with Connection.open(node.target, 20) as connection:
        connection.run("cat > /root/leak", sudo=True, stdin=PASSWORD.encode())
    shown = (
        Command("ps axww -o args | grep '[s]udo -S' | cut -c -200", name="argv"),
        Command(f"{leak} >&2; exit 1", name="leak"),
    )
    with sudoers(node, *ASKS), Connection.open(keeper, 20) as connection:
        result = apply({keeper: shown}, on_event=events.append)["kept"]
        with pytest.raises(CommandFailed) as failed:
            connection.run(f"{leak} >&2; exit 1", sudo=True)
    assert isinstance(result.error, StepFailed)
    assert "sudo -S -p password-" in result.operations[0].stdout_tail
    texts = (repr(keeper), repr(events), str(result), str(result.error), str(failed.value), caplog.text)
    for text in texts:
        assert "pass w" not in text
    assert "********" in str(result.error)
