"""What goes wrong between the controller and its hosts: cuts in any step, restarts, floods, slow hosts."""

from __future__ import annotations

import fcntl
import os
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ansible_like.operations import Absent, Command, LineInFile, Link, Operation, WaitFor
from ansible_like.result import ConnectionLost, Event, HostResult
from ansible_like.runner import apply
from tests.ansible_like import test_jumps
from tests.ansible_like.conftest import Sshd, free_port, serve
from tests.ansible_like.test_agent import assert_gone, own_directory, own_file
from tests.ansible_like.test_apply import Relay
from tests.ansible_like.test_connection import copy_keys, opening

servers = test_jumps.servers
MOST_KIB = 64 << 10


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "host").mkdir()
    return tmp_path / "host"


def says(place: Path, name: str, **more: object) -> Command:
    """Writes its name and process to the log, and hangs as long as the test wants it to; then it is done."""
    script = (
        f"echo {name} $$ >> {place}/log; test ! -e {place}/hang-{name} || sleep 1000; touch {place}/{name}"
    )
    return Command(script, name=name, **more)  # type: ignore[arg-type]


def all_kinds(place: Path) -> tuple[Operation, ...]:
    """Every operation that needs no root, with a command between them now and then."""
    return (
        own_directory(place / "folder"),
        own_file(place / "folder/file", "content\n" * 50_000),
        says(place, "plain"),
        Absent(str(place / "old")),
        Link(str(place / "link"), "folder"),
        says(place, "guarded", unless=f"test -e {place}/guarded"),
        LineInFile(str(place / "conf"), "b=2", replaces="^b="),
        says(place, "reacts", when_changed=(str(place / "conf"),)),
        own_file(place / "folder/made", ""),
        WaitFor(path=str(place / "folder/made")),
        says(place, "creates", creates=str(place / "creates")),
        own_file(place / "secret", "KEY=topsecret\n", mode=0o600, secret=True),
        says(place, "last", secret_stdin="topsecret", retries=1, retry_delay_s=0),
    )


STEPS = all_kinds(Path("/place"))


@pytest.mark.parametrize("step", range(len(STEPS)), ids=[step.title for step in STEPS])
def test_a_connection_cut_in_a_step_of_any_kind(sshd: Sshd, place: Path, tmp_path: Path, step: int) -> None:
    (place / "old").mkdir()
    (place / "old/file").touch()
    (place / "conf").write_text("a=1\nb=1\n")
    operations = all_kinds(place)
    # so that the agent, who waits for nobody, does not come further than to the next command
    next_command = next(each for each in operations[step:] if isinstance(each, Command))
    hang = place / f"hang-{next_command.name}"
    hang.touch()
    state = tmp_path / "state"
    with Relay(sshd.port) as relay:

        def cut(event: Event) -> None:
            if event.status == "started" and event.index == step + 1:
                relay.cut()

        target = sshd.target(port=relay.port)
        result = apply({target: operations}, on_event=cut, reconnect_deadline_s=0, state_directory=str(state))
    assert isinstance(result["node-0"].error, ConnectionLost)

    with (state / "lock").open() as lock:
        # until that agent has ended: else its command could go on, and the run end well unheard
        fcntl.flock(lock, fcntl.LOCK_EX)
    hang.unlink()
    again = apply({sshd.target(): operations}, state_directory=str(state))["node-0"]
    assert again.error is None
    assert len(again.operations) == len(operations)
    ran = [line.split() for line in (place / "log").read_text().splitlines()]
    names = [name for name, _ in ran]
    commands = {"plain", "guarded", "reacts", "creates", "last"}
    assert set(names) == commands
    # only the command in which the cut came may have begun twice
    assert {name for name in names if names.count(name) > 1} <= {next_command.name}
    assert len(names) <= 6
    for _, pid in ran:
        assert_gone(int(pid))
    assert (place / "conf").read_text() == "a=1\nb=2\n"
    assert {path.name for path in place.iterdir()} == {"conf", "folder", "link", "log", "secret", *commands}
    assert {path.name for path in (place / "folder").iterdir()} == {"file", "made"}
    assert {path.name for path in state.iterdir()} == {"agent", "history.jsonl", "journal.jsonl", "lock"}
    assert "ended" in (state / "journal.jsonl").read_text().splitlines()[-1]


def test_an_sshd_that_is_restarted_keeps_who_is_in_and_new_ones_wait(
    sshd: Sshd, place: Path, tmp_path: Path
) -> None:
    copy_keys(sshd.folder, tmp_path)
    os.mkfifo(place / "fifo")
    waits = Command(f"echo PROGRESS up; read line < {place}/fifo", progress=True, name="waits")
    first = serve(tmp_path, free_port())
    with first as server:

        def restart(event: Event) -> None:
            if event.detail == "up":
                first.__exit__()
                with opening(server.target("late")) as late:
                    assert late.wait(20)
                    with serve(tmp_path, server.port):
                        late.opened().close()
                (place / "fifo").write_text("\n")

        result = apply(
            {server.target(): (waits, own_file(place / "after", ""))},
            on_event=restart,
            reconnect_deadline_s=0,
            state_directory=str(tmp_path / "state"),
        )["node-0"]
    assert result.error is None
    assert (place / "after").exists()


def test_one_slow_host_of_fifty_holds_up_no_other(servers: Callable[[str], Sshd], place: Path) -> None:
    server = servers("hosts")
    os.mkfifo(place / "fifo")
    slow = Command(f"timeout 60 head -n 1 {place}/fifo", name="slow")
    ended: list[str] = []
    lock = threading.Lock()

    def count(result: HostResult) -> None:
        with lock:
            ended.append(result.host)
            if len(ended) == 49:
                (place / "fifo").write_text("\n")

    hosts: dict[object, tuple[Operation, ...]] = {
        server.target(f"node-{number}"): (slow if number == 7 else Command("true"),) for number in range(50)
    }
    results = apply(hosts, on_result=count, state_directory="state")  # type: ignore[arg-type]
    assert [result.error for result in results.values()] == [None] * 50
    assert ended[-1] == "node-7"


@pytest.fixture
def peak_kib() -> Iterator[Callable[[], int]]:
    """By how much this process has grown at most since the test began."""
    Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    before = _status_kib("VmRSS")
    yield lambda: _status_kib("VmHWM") - before


def _status_kib(name: str) -> int:
    found = re.search(rf"^{name}:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def test_a_command_that_prints_a_hundred_megabytes_fills_no_memory(
    sshd: Sshd, tmp_path: Path, peak_kib: Callable[[], int]
) -> None:
    flood = "head -c 100000000 /dev/zero | tr '\\0' x; echo; echo; grep VmHWM /proc/$PPID/status"
    failing = Command(f"({flood}) >&2; exit 3", name="fails")
    operations = (Command(flood, progress=True, name="floods"), failing)
    result = apply({sshd.target(): operations}, state_directory=str(tmp_path / "state"))["node-0"]
    for each, code in zip(result.operations, (0, 3), strict=True):
        assert each.exit_code == code
        last = each.stdout_tail.splitlines()[-1]
        assert re.fullmatch(r"VmHWM:\s+\d+ kB", last)
        assert int(last.split()[1]) < MOST_KIB
        assert len(each.stdout_tail) <= 4000
    assert peak_kib() < MOST_KIB
