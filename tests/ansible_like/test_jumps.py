"""Jump hosts shared by many hosts: how often they are logged in to, and what is told when one is lost."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from ansible_like import jumps as jumps_module
from ansible_like.connection import Connection
from ansible_like.jumps import Jumps
from ansible_like.operations import Command
from ansible_like.result import ConnectionLost, Event, HostKeyMismatch, Interrupted, Unreachable
from ansible_like.runner import apply
from tests.ansible_like.conftest import Sshd, free_port, serve
from tests.ansible_like.test_apply import Relay
from tests.ansible_like.test_connection import copy_keys

STRICT = "MaxStartups 10:100:10\nMaxSessions 1\n"
WAITS = Command("echo PROGRESS up; sleep 1000; :", progress=True, name="waits")


@pytest.fixture
def servers(sshd: Sshd, tmp_path: Path) -> Iterator[Callable[[str], Sshd]]:
    """Servers that drop whoever knocks as the eleventh, and give each session a state of its own."""
    with ExitStack() as undo:

        def start(name: str) -> Sshd:
            folder = tmp_path / name
            folder.mkdir()
            copy_keys(sshd.folder, folder)
            each = f'ForceCommand cd $(mktemp -d {folder}/session.XXXXXX) && eval "$SSH_ORIGINAL_COMMAND"\n'
            return undo.enter_context(serve(folder, free_port(), STRICT + each))

        yield start


@pytest.fixture(autouse=True)
def all_closed() -> Iterator[None]:
    """Whatever happens in a run, no connection outlives it."""
    yield
    for thread in threading.enumerate():
        if isinstance(thread, paramiko.Transport):
            thread.join(10)
            assert not thread.is_alive()


def logins(server: Sshd) -> int:
    return server.log.count("Accepted publickey")


def test_fifty_hosts_behind_one_jump_host_log_in_to_it_once(servers: Callable[[str], Sshd]) -> None:
    bastion, inner = servers("bastion"), servers("inner")
    jump = bastion.target("bastion")
    hosts = {inner.target(f"node-{number}", jump=jump): (Command("true"),) for number in range(50)}
    results = apply(hosts, state_directory="state", connect_deadline_s=60)
    assert [result.error for result in results.values()] == [None] * 50
    assert (logins(bastion), logins(inner)) == (1, 50)
    assert "MaxStartups" not in inner.log
    assert "drop connection" not in inner.log


def test_a_jump_host_behind_a_jump_host_is_shared_too(servers: Callable[[str], Sshd]) -> None:
    outer, middle, inner = servers("outer"), servers("middle"), servers("inner")
    jump = middle.target("middle", jump=outer.target("outer"))
    hosts = {inner.target(f"node-{number}", jump=jump): (Command("true"),) for number in range(4)}
    hosts[middle.target("beside", jump=outer.target("outer"))] = (Command("true"),)
    results = apply(hosts, state_directory="state", connect_deadline_s=20)
    assert [result.error for result in results.values()] == [None] * 5
    assert (logins(outer), logins(middle), logins(inner)) == (1, 2, 4)


@pytest.mark.parametrize("cut", ["outer", "middle"])
def test_a_jump_host_that_is_lost_is_named_by_every_host_behind_it(
    servers: Callable[[str], Sshd], cut: str
) -> None:
    outer, middle, inner = servers("outer"), servers("middle"), servers("inner")
    running = threading.Semaphore(0)
    with Relay(outer.port) as to_outer, Relay(middle.port) as to_middle:
        first = outer.target("outer", port=to_outer.port)
        jump = middle.target("middle", port=to_middle.port, jump=first)

        def count(event: Event) -> None:
            if event.status == "progress":
                running.release()

        def end() -> None:
            for _ in range(3):
                running.acquire()
            {"outer": to_outer, "middle": to_middle}[cut].cut()

        ender = threading.Thread(target=end)
        ender.start()
        hosts = {inner.target(f"node-{number}", jump=jump): (WAITS,) for number in range(3)}
        results = apply(
            hosts, on_event=count, state_directory="state", connect_deadline_s=20, reconnect_deadline_s=0
        )
        ender.join()
    for name, result in results.items():
        assert isinstance(result.error, ConnectionLost)
        assert str(result.error).startswith(
            f"{name}: the connection to the jump host {cut} ended when step 1 of 1"
        )
        assert f"see whether {cut} is up" in str(result.error)


def test_hosts_behind_a_jump_host_that_was_lost_go_on_through_one_new_connection(
    servers: Callable[[str], Sshd], tmp_path: Path
) -> None:
    bastion, inner = servers("bastion"), servers("inner")
    running = threading.Semaphore(0)
    with Relay(bastion.port) as relay:
        jump = bastion.target("bastion", port=relay.port)

        def count(event: Event) -> None:
            if event.status == "progress" and event.detail == "up":
                running.release()

        def end() -> None:
            for _ in range(3):
                running.acquire()
            relay.cut()

        ender = threading.Thread(target=end)
        ender.start()
        hosts = {}
        for number in range(3):
            begun = tmp_path / f"begun-{number}"
            script = f"mkdir {begun} || exit 0; echo PROGRESS up; sleep 1000; :"
            hosts[inner.target(f"node-{number}", jump=jump)] = (Command(script, progress=True, name="once"),)
        results = apply(hosts, on_event=count, state_directory="state", connect_deadline_s=20)
        ender.join()
    assert [result.error for result in results.values()] == [None] * 3
    assert (logins(bastion), logins(inner)) == (2, 6)


def test_a_jump_host_that_does_not_answer_is_named_by_every_host_behind_it(sshd: Sshd) -> None:
    jump = sshd.target("bastion", port=free_port())
    hosts = {sshd.target(f"node-{number}", jump=jump): () for number in range(3)}
    results = apply({**hosts, sshd.target("beside"): ()}, check=True, connect_deadline_s=0.5)
    assert results.pop("beside").ok
    for result in results.values():
        assert isinstance(result.error, Unreachable)
        assert str(result.error).startswith(f"bastion: SSH at 127.0.0.1:{jump.port} did not answer")


def test_a_jump_host_that_is_another_gets_nothing_from_any_host(servers: Callable[[str], Sshd]) -> None:
    bastion = servers("bastion")
    jump = bastion.target("bastion", host_keys=())
    hosts = {bastion.target(f"node-{number}", jump=jump): () for number in range(3)}
    results = apply(hosts, check=True, connect_deadline_s=20)
    assert [type(result.error) for result in results.values()] == [HostKeyMismatch] * 3
    assert "userauth" not in bastion.log


def test_an_interrupt_ends_those_who_wait_for_the_jump_host(
    servers: Callable[[str], Sshd], interrupt_at_progress: Callable[[Event], None]
) -> None:
    bastion = servers("bastion")
    jump = bastion.target("bastion")
    silent = bastion.target("silent", port=free_port())
    ended: dict[str, object] = {}
    with pytest.raises(KeyboardInterrupt):
        apply(
            {
                bastion.target("runs", jump=jump): (WAITS,),
                bastion.target("waits", jump=silent): (),
                bastion.target("waits too", jump=silent): (),
            },
            on_event=interrupt_at_progress,
            on_result=lambda result: ended.update({result.host: type(result.error)}),
            state_directory="state",
            connect_deadline_s=1000,
        )
    assert ended == dict.fromkeys(("runs", "waits", "waits too"), Interrupted)


def test_a_lost_jump_host_is_connected_to_again_for_the_next(sshd: Sshd) -> None:
    with Relay(sshd.port) as relay, Jumps() as jumps:
        through = sshd.target("inner", jump=sshd.target("bastion", port=relay.port))
        with Connection.open(through, 20, jumps=jumps) as first:
            relay.cut()
            assert first.is_lost()
        with Connection.open(through, 20, jumps=jumps) as second:
            assert second.run(["echo", "deep"]).stdout == "deep\n"


def test_who_gets_no_turn_at_a_crowded_sshd_says_so(sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jumps_module, "HANDSHAKES", 1)
    target = sshd.target()
    with Jumps() as jumps:
        first = jumps.turn(target, 0)
        assert first
        with pytest.raises(Unreachable, match="others were still at their handshakes with it"):
            Connection.open(target, 0.1, jumps=jumps)
        # elsewhere, and behind a jump host, the same address is another machine
        assert jumps.turn(replace(target, port=free_port()), 0)
        assert jumps.turn(replace(target, jump=target), 0)
        first.end()
        first.end()
        with Connection.open(target, 20, jumps=jumps) as opened:
            assert not jumps.turn(target, 0), "sshd may still count it as one that knocks"
            assert opened.run(["true"]).exit_code == 0
            assert jumps.turn(target, 0)
