"""Whole runs over a real sshd: many hosts, one outcome each, and every way to fail told."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from ansible_like import runner
from ansible_like.operations import Command, File, Operation, Service
from ansible_like.result import (
    BadPlay,
    ConnectionLost,
    EngineError,
    Event,
    HostBusy,
    HostKeyMismatch,
    HostResult,
    Interrupted,
    PythonMissing,
    StepFailed,
    Unreachable,
)
from ansible_like.runner import apply
from tests.ansible_like.agents import Agent
from tests.ansible_like.conftest import Sshd, free_port, serve
from tests.ansible_like.test_agent import assert_gone, own_directory, own_file
from tests.ansible_like.test_connection import copy_keys

Converge = Callable[..., HostResult]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "host").mkdir()
    return tmp_path / "host"


@pytest.fixture
def converge(sshd: Sshd, tmp_path: Path) -> Converge:
    def run(operations: Sequence[Operation], **options: Any) -> HostResult:
        state = str(tmp_path / "state")
        return apply({sshd.target(): operations}, state_directory=state, **options)["node-0"]

    return run


def statuses(result: HostResult) -> list[str]:
    return [operation.status for operation in result.operations]


def test_the_second_run_changes_nothing(converge: Converge, place: Path) -> None:
    operations = (
        own_directory(place / "a"),
        own_file(place / "a/file", "x\n"),
        Command(("touch", f"{place}/made"), creates=f"{place}/made"),
    )
    checked = converge(operations, check=True, diff=True)
    assert checked.ok
    assert statuses(checked) == ["changed"] * 3
    assert checked.operations[1].diff.endswith("+x")
    assert [each.diff for each in converge(operations, check=True).operations] == [""] * 3
    assert list(place.iterdir()) == []

    first = converge(operations)
    assert (first.ok, first.failed, first.changed) == (True, False, True)
    assert (place / "a/file").read_text() == "x\n"

    second = converge(operations)
    assert (second.ok, second.changed) == (True, False)
    assert [operation.why for operation in second.operations] == [
        "mode and owner are as wanted",
        "content, mode and owner are as wanted",
        f"{place}/made exists",
    ]


def test_events_come_in_order_with_their_place(converge: Converge, place: Path) -> None:
    events: list[Event] = []
    command = Command("echo PROGRESS 1 of 1", progress=True, name="weights")
    converge((own_file(place / "a", ""), command), on_event=events.append)
    assert [(event.index, event.total, event.status, event.detail) for event in events] == [
        (1, 2, "started", ""),
        (1, 2, "changed", "new"),
        (2, 2, "started", ""),
        (2, 2, "progress", "1 of 1"),
        (2, 2, "changed", "ran"),
    ]
    assert {(event.host, event.title) for event in events} == {
        ("node-0", f"file {place}/a"),
        ("node-0", "command weights"),
    }
    assert [event.result and event.result.why for event in events] == [None, "new", None, None, "ran"]


def test_no_failure_hides_another_nor_the_hosts_that_are_well(
    sshd: Sshd, place: Path, tmp_path: Path
) -> None:
    well, fails = sshd.target("well"), sshd.target("fails")
    gone, stranger = sshd.target("gone", port=free_port()), sshd.target("stranger", host_keys=())
    results = apply(
        {
            gone: (own_file(place / "gone", ""),),
            fails: (Command("exit 5", name="doomed"), own_file(place / "fails", "")),
            stranger: (own_file(place / "stranger", ""),),
            well: (own_file(place / "well", ""),),
        },
        connect_deadline_s=2,
        state_directory=str(tmp_path / "state"),
    )
    assert list(results) == ["gone", "fails", "stranger", "well"]
    assert {name: type(result.error) for name, result in results.items()} == {
        "gone": Unreachable,
        "fails": StepFailed,
        "stranger": HostKeyMismatch,
        "well": type(None),
    }
    assert [path.name for path in place.iterdir()] == ["well"]


def test_a_failed_step_is_told_whole(converge: Converge) -> None:
    result = converge((Command(("true",)), Command("echo reason >&2; exit 5", name="doomed"), Command("ls")))
    assert result.failed
    assert statuses(result) == ["changed", "failed"]
    assert isinstance(result.error, StepFailed)
    assert str(result.error) == (
        "node-0: step 2 of 3, command doomed, failed: /bin/sh -c echo reason >&2; exit 5 (exit code 5)\n"
        "      reason\n"
        "    → mend the cause and run again: what is done already is left as it is"
    )


def test_a_host_that_another_run_holds(
    converge: Converge, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner, "LOCK_WAIT_S", 0)
    os.mkfifo(place / "fifo")
    hold = Command(f"echo PROGRESS up; read line < {place}/fifo", progress=True, name="hold")
    with Agent((hold,), tmp_path / "state") as holder:
        holder.until(progress="up")
        result = converge((own_file(place / "a", ""),))
        (place / "fifo").write_text("\n")
    assert isinstance(result.error, HostBusy)
    assert "another run holds this host: process 1 on here, for tests, since 2" in str(result.error)


def test_a_connection_cut_in_the_middle_leaves_no_process_and_the_next_run_goes_on(
    sshd: Sshd, place: Path, tmp_path: Path
) -> None:
    script = f"echo $$ > {place}/pid; echo PROGRESS up; sleep 1000; :"
    operations: tuple[Operation, ...] = (
        own_file(place / "before", ""),
        Command(script, progress=True, creates=f"{place}/skip", name="long"),
        own_file(place / "after", ""),
    )
    with Relay(sshd.port) as relay:

        def cut(event: Event) -> None:
            if event.status == "progress":
                relay.cut()

        target = sshd.target(port=relay.port)
        result = apply(
            {target: operations},
            on_event=cut,
            reconnect_deadline_s=0,
            state_directory=str(tmp_path / "state"),
        )["node-0"]
    assert isinstance(result.error, ConnectionLost)
    assert "ended when step 2 of 3, command long, was running" in str(result.error)

    (place / "skip").touch()
    # it waits for the lock, and so until the agent that was cut off has ended its command
    again = apply({sshd.target(): operations}, state_directory=str(tmp_path / "state"))["node-0"]
    assert again.ok
    assert statuses(again) == ["ok", "ok", "changed"]
    assert_gone(int((place / "pid").read_text()))


def test_what_the_caller_raises_ends_all_hosts(sshd: Sshd, place: Path, tmp_path: Path) -> None:
    def stop(event: Event) -> None:
        if event.status == "progress":
            raise KeyboardInterrupt

    ended: dict[str, HostResult] = {}

    def keep(result: HostResult) -> None:
        ended[result.host] = result

    endless = Command(
        f"echo $$ > {place}/pid; echo PROGRESS up; sleep 1000; :", progress=True, name="endless"
    )
    done = own_file(place / "done", "")
    waits = {sshd.target("silent", port=free_port()): (endless,), sshd.target("runs"): (done, endless)}
    with pytest.raises(KeyboardInterrupt):
        apply(
            waits,
            on_event=stop,
            on_result=keep,
            connect_deadline_s=1000,
            state_directory=str(tmp_path / "state"),
        )
    assert str(ended["silent"].error).startswith("silent: the run was ended before its first step\n")
    # whoever holds the lock next knows that the first has ended all that it ran
    with Agent((), tmp_path / "state", lock_wait_s=30) as after:
        assert after.results() == []
    assert_gone(int((place / "pid").read_text()))


def test_a_caller_s_interrupt_tells_how_far_each_host_came(
    sshd: Sshd, place: Path, tmp_path: Path, interrupt_at_progress: Callable[[Event], None]
) -> None:
    """It comes where the caller waits, not in a host's thread."""
    waiting = Command("echo PROGRESS up; sleep 1000; :", progress=True, name="endless")
    ended: list[HostResult] = []

    with pytest.raises(KeyboardInterrupt):
        apply(
            {sshd.target(): (own_file(place / "done", ""), waiting)},
            on_event=interrupt_at_progress,
            on_result=ended.append,
            state_directory=str(tmp_path / "state"),
        )
    (result,) = ended
    assert statuses(result) == ["changed"]
    assert isinstance(result.error, Interrupted)
    assert result.error.what == "the run was ended when step 2 of 2, command endless, was running"


def test_a_result_comes_as_soon_as_its_host_has_ended(sshd: Sshd, place: Path, tmp_path: Path) -> None:
    os.mkfifo(place / "fifo")
    waits = Command(f"read line < {place}/fifo", name="waits")

    def let_go(result: HostResult) -> None:
        if result.host == "quick":
            (place / "fifo").write_text("\n")

    gone = sshd.target("quick", host_keys=())
    results = apply(
        {gone: (), sshd.target("slow"): (waits,)}, on_result=let_go, state_directory=str(tmp_path / "state")
    )
    assert results["slow"].ok


def test_an_agent_that_is_killed_is_told_as_such(converge: Converge) -> None:
    result = converge((Command("kill -9 $PPID", name="murder"),))
    assert type(result.error) is EngineError
    assert "the agent was killed when step 1 of 1, command murder, was running" in str(result.error)


@pytest.fixture
def poor_host(sshd: Sshd, tmp_path: Path) -> Iterator[tuple[Sshd, Path]]:
    """A host with nothing on its PATH but what the test puts into the folder."""
    copy_keys(sshd.folder, tmp_path)
    (tmp_path / "bin").mkdir()
    # not by sshd's own PATH: a login shell's start-up files may add to that one
    command = f'ForceCommand export PATH={tmp_path}/bin; eval "$SSH_ORIGINAL_COMMAND"\n'
    with serve(tmp_path, free_port(), command) as server:
        yield server, tmp_path / "bin"


def test_a_host_without_python(poor_host: tuple[Sshd, Path]) -> None:
    result = apply({poor_host[0].target(): ()})["node-0"]
    assert isinstance(result.error, PythonMissing)
    assert "it has no python3" in str(result.error)


@pytest.mark.parametrize("version", ["3.6", "3.7"])
def test_a_host_with_an_old_python(poor_host: tuple[Sshd, Path], version: str) -> None:
    found = list((Path.home() / ".pyenv/versions").glob(f"{version}.*/bin/python"))
    if not found:
        pytest.skip(f"no python {version} on this machine")
    (poor_host[1] / "python3").symlink_to(found[0])
    result = apply({poor_host[0].target(): ()})["node-0"]
    assert isinstance(result.error, PythonMissing)
    assert f"its python3 is {version}" in str(result.error)


def test_a_login_shell_that_greets_is_no_trouble(sshd: Sshd, tmp_path: Path, place: Path) -> None:
    copy_keys(sshd.folder, tmp_path)
    greeting = 'ForceCommand echo "Welcome!"; eval "$SSH_ORIGINAL_COMMAND"\n'
    with serve(tmp_path, free_port(), greeting) as server:
        operations = (own_file(place / "a", ""),)
        result = apply({server.target(): operations}, state_directory=str(tmp_path / "state"))["node-0"]
    assert result.error is None
    assert statuses(result) == ["changed"]


def test_everything_wrong_in_a_play_is_told_at_once_and_nothing_is_sent(sshd: Sshd, place: Path) -> None:
    operations = (
        File("relative", ""),
        Command("a"),
        Command("a"),
        Service("x.service", running=True, restart_when_changed=("/no/such",)),
    )
    with pytest.raises(BadPlay) as refusal:
        apply({sshd.target(port=free_port()): operations, sshd.target(sudo=True): ()})
    first, *told, last = str(refusal.value).splitlines()
    assert first == "2 hosts: the desired state can't be used:"
    assert told[::2] == [
        "      node-0: is the name of two hosts",
        "      file relative: path 'relative' can't be used (on node-0)",
        "      command a: stands there twice (on node-0)",
        "      service x.service: no earlier operation is called '/no/such' (on node-0)",
    ]
    assert told[5] == "          → Give each a name."
    assert last == "    → correct it"


def test_no_hosts_no_work() -> None:
    assert apply({}) == {}


class Relay:
    """A loopback port that passes everything on to another, until it is cut."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self._sockets: list[socket.socket] = []
        self._swallows = False
        self.port: int = self._server.getsockname()[1]

    def cut(self) -> None:
        for each in self._sockets:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        self._swallows = False

    def swallow(self) -> None:
        """Until the cut, pass nothing on of what the host says."""
        self._swallows = True

    def close(self) -> None:
        """Take no more connections."""
        with contextlib.suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                here, _ = self._server.accept()
                there = socket.create_connection(("127.0.0.1", self._to))
                self._sockets += [here, there]
                for words in ((here, there, False), (there, here, True)):
                    threading.Thread(target=self._pass_on, args=words, daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, from_host: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not (from_host and self._swallows):
                    sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def __enter__(self) -> Relay:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.cut()
        for each in self._sockets:
            each.close()
