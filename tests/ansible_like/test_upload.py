"""Uploads over a real sshd: whole, cut off, torn, changed on the way, and never in memory at once."""

from __future__ import annotations

import hashlib
import os
import resource
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ansible_like import sources
from ansible_like.agent.controller import CONTENT
from ansible_like.operations import Upload
from ansible_like.result import BadPlay, ConnectionLost, Event, HostResult, StepFailed
from ansible_like.runner import LOSSES_A_STEP, apply
from tests.ansible_like.agents import OLDEST, Agent
from tests.ansible_like.conftest import Sshd
from tests.ansible_like.test_agent import ME, MY_GROUP, statuses
from tests.ansible_like.test_apply import Relay

MIB = 1 << 20
Converge = Callable[..., HostResult]


def random_file(path: Path, size_bytes: int) -> Path:
    path.write_bytes(os.urandom(size_bytes))
    return path


def own_upload(path: Path, source: Path, **more: Any) -> Upload:
    return Upload(str(path), str(source), owner=ME, group=MY_GROUP, **more)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "host").mkdir()
    return tmp_path / "host"


@pytest.fixture
def converge(sshd: Sshd, tmp_path: Path) -> Converge:
    def run(*operations: Upload, port: int = sshd.port, **options: Any) -> HostResult:
        state = str(tmp_path / "state")
        return apply({sshd.target(port=port): operations}, state_directory=state, **options)["node-0"]

    return run


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes of sources went out, piece by piece."""
    counts: list[int] = []
    answer = sources.Source.answer

    def counting(self: sources.Source, offset: int, sha256: str) -> Any:
        for piece in answer(self, offset, sha256):
            counts.append(0 if piece.startswith(CONTENT) and len(piece) == 9 else len(piece))
            yield piece

    monkeypatch.setattr(sources.Source, "answer", counting)
    return counts


def names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


@pytest.mark.parametrize("size_bytes", [0, 1, sources.PIECE_BYTES, 5 * MIB + 1])
def test_a_file_arrives_once_with_its_mode(
    converge: Converge, place: Path, tmp_path: Path, sent: list[int], size_bytes: int
) -> None:
    source = random_file(tmp_path / "source", size_bytes)
    upload = own_upload(place / "a", source, mode=0o750)

    checked = converge(upload, check=True, diff=True)
    assert [each.status for each in checked.operations] == ["changed"]
    wanted = hashlib.sha256(source.read_bytes()).hexdigest()
    assert checked.operations[0].diff == f"+ {place}/a: {size_bytes} bytes, sha256 {wanted}"
    assert names(place) == []

    first = converge(upload)
    assert first.error is None
    assert (first.operations[0].status, first.operations[0].why) == ("changed", "new")
    assert (place / "a").read_bytes() == source.read_bytes()
    assert stat.S_IMODE((place / "a").stat().st_mode) == 0o750
    assert sum(sent) == size_bytes

    second = converge(upload)
    assert (second.operations[0].status, second.operations[0].why) == (
        "ok",
        "content, mode and owner are as wanted",
    )
    (place / "a").chmod(0o600)
    third = converge(upload)
    assert (third.operations[0].status, third.operations[0].why) == ("changed", "mode or owner")
    assert sum(sent) == size_bytes
    assert names(place) == ["a"]


def test_content_of_the_same_size_is_told_apart(converge: Converge, place: Path, tmp_path: Path) -> None:
    source = random_file(tmp_path / "source", MIB)
    random_file(place / "a", MIB)
    result = converge(own_upload(place / "a", source))
    assert (result.operations[0].status, result.operations[0].why) == ("changed", "content")
    assert (place / "a").read_bytes() == source.read_bytes()


def test_its_progress_is_told(converge: Converge, place: Path, tmp_path: Path) -> None:
    source = random_file(tmp_path / "source", 40 * MIB)
    events: list[Event] = []
    assert converge(own_upload(place / "a", source), on_event=events.append).ok
    told = [event.detail for event in events if event.status == "progress"]
    assert len(told) == 2
    assert all(text.endswith(" of 40.0 MiB") for text in told)


def test_one_that_was_cut_off_goes_on_where_it_was(
    sshd: Sshd, converge: Converge, place: Path, tmp_path: Path, sent: list[int]
) -> None:
    source = random_file(tmp_path / "source", 64 * MIB)
    upload = own_upload(place / "a", source)
    with Relay(sshd.port) as relay:

        def cut(event: Event) -> None:
            if event.status == "progress":
                relay.cut()

        result = converge(upload, port=relay.port, on_event=cut, reconnect_deadline_s=0)
    assert isinstance(result.error, ConnectionLost)
    assert names(place) == [".a.ansible_like.part"]
    sent.clear()
    # whoever has the lock knows that the agent that was cut off has ended
    with Agent((), tmp_path / "state", lock_wait_s=30) as agent:
        assert agent.results() == []
    arrived = (place / ".a.ansible_like.part").stat().st_size
    assert 16 * MIB <= arrived < 64 * MIB

    assert converge(upload).ok
    assert sum(sent) == 64 * MIB - arrived
    assert (place / "a").read_bytes() == source.read_bytes()
    assert names(place) == ["a"]


def test_a_run_whose_connection_is_cut_connects_anew_and_sends_the_rest(
    sshd: Sshd, converge: Converge, place: Path, tmp_path: Path, sent: list[int]
) -> None:
    source = random_file(tmp_path / "source", 128 * MIB)
    with Relay(sshd.port) as relay:
        cuts: list[str] = []

        def cut(event: Event) -> None:
            # more often than a step may lose its connection without getting any further
            if event.detail.endswith(" MiB") and len(cuts) < LOSSES_A_STEP + 2:
                cuts.append(event.detail)
                relay.cut()

        result = converge(own_upload(place / "a", source), port=relay.port, on_event=cut)
    assert result.error is None
    assert [each.status for each in result.operations] == ["changed"]
    # what was on its way when it was cut went twice, but not what had come
    assert len(cuts) == LOSSES_A_STEP + 2
    assert 128 * MIB <= sum(sent) < 192 * MIB
    assert (place / "a").read_bytes() == source.read_bytes()
    assert names(place) == ["a"]


@pytest.mark.parametrize("kept", ["torn", "longer", "whole", "whole but wrong", "a link", "a second name"])
def test_a_partial_file_is_trusted_only_as_far_as_it_is_right(
    converge: Converge, place: Path, tmp_path: Path, sent: list[int], kept: str
) -> None:
    source = random_file(tmp_path / "source", 3 * MIB)
    content = source.read_bytes()
    part = place / ".a.ansible_like.part"
    victim = tmp_path / "victim"
    victim.write_bytes(content[:MIB])
    match kept:
        case "a link":
            part.symlink_to(victim)
        case "a second name":
            part.hardlink_to(victim)
        case "torn":
            part.write_bytes(content[:MIB] + bytes(100))
        case "longer":
            part.write_bytes(content + b"more")
        case "whole":
            part.write_bytes(content)
        case "whole but wrong":
            part.write_bytes(bytes(3 * MIB))
    assert converge(own_upload(place / "a", source)).ok
    assert (place / "a").read_bytes() == content
    assert sum(sent) == (0 if kept in ("longer", "whole") else 3 * MIB)
    assert victim.read_bytes() == content[:MIB]
    assert names(place) == ["a"]


def test_a_source_that_changes_on_the_way_fails_the_step_and_the_next_run_is_right(
    converge: Converge, place: Path, tmp_path: Path
) -> None:
    source = random_file(tmp_path / "source", 64 * MIB)

    def change(event: Event) -> None:
        if event.status == "progress":
            with source.open("r+b") as file:
                file.write(b"other")

    upload = own_upload(place / "a", source)
    result = converge(upload, on_event=change)
    assert isinstance(result.error, StepFailed)
    assert f"its source {source} changed since this run began" in str(result.error)
    assert [each.status for each in result.operations] == ["failed"]
    assert not (place / "a").exists()
    assert converge(upload).ok
    assert (place / "a").read_bytes() == source.read_bytes()
    assert names(place) == ["a"]


def test_a_source_that_shrinks_on_the_way_fails_the_step(
    converge: Converge, place: Path, tmp_path: Path
) -> None:
    source = random_file(tmp_path / "source", 64 * MIB)

    def cut(event: Event) -> None:
        if event.status == "progress":
            os.truncate(source, 0)

    result = converge(own_upload(place / "a", source), on_event=cut)
    assert "changed since this run began" in str(result.error)


def test_a_source_that_is_not_there_or_no_file_is_told_before_anything_is_sent(
    converge: Converge, place: Path, tmp_path: Path
) -> None:
    os.mkfifo(tmp_path / "fifo")
    uploads = [own_upload(place / name, tmp_path / name) for name in ("nowhere", "fifo")]
    with pytest.raises(BadPlay) as refusal:
        converge(*uploads)
    told = [line.strip() for line in str(refusal.value).splitlines()]
    assert told[1:-1:2] == [
        f"upload {place}/nowhere: its source {tmp_path}/nowhere can't be read: "
        "No such file or directory (on node-0)",
        f"upload {place}/fifo: its source {tmp_path}/fifo is no regular file (on node-0)",
    ]
    assert names(place) == []


def test_a_source_is_read_once_for_all_hosts(
    sshd: Sshd, place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = random_file(tmp_path / "source", MIB)
    reads: list[str] = []
    read = sources.Source.read

    def counting(path: str, ended: threading.Event) -> sources.Source:
        reads.append(path)
        return read(path, ended)

    monkeypatch.setattr(sources.Source, "read", counting)
    hosts = {}
    for number in range(4):
        (place / str(number)).mkdir()
        target = sshd.target(f"node-{number}")
        hosts[target] = (own_upload(place / str(number) / "a", source),)
    # they are one machine, whose lock they take one after the other
    results = apply(hosts, state_directory=str(tmp_path / "state"))
    assert [result.error for result in results.values()] == [None] * 4
    assert reads == [str(source)]
    assert all((place / str(n) / "a").read_bytes() == source.read_bytes() for n in range(4))


def test_without_its_directory_or_owner_nothing_is_sent(
    converge: Converge, place: Path, tmp_path: Path, sent: list[int]
) -> None:
    source = random_file(tmp_path / "source", MIB)
    result = converge(own_upload(place / "no/such", source))
    assert "No such file or directory" in str(result.error)
    result = converge(Upload(str(place / "a"), str(source), owner="no-such-user", group=MY_GROUP))
    assert "no user 'no-such-user' on this host" in str(result.error)
    assert sum(sent) == 0
    assert names(place) == []


@pytest.fixture(params=["python3", OLDEST], ids=["this python", "python 3.8"])
def python(request: pytest.FixtureRequest) -> str:
    if request.param is None:
        pytest.skip("no python 3.8 on this machine")
    return str(request.param)


def received(place: Path, content: bytes) -> Upload:
    """As it goes to the host."""
    digest = hashlib.sha256(content).hexdigest()
    return Upload(str(place / "a"), "", owner=ME, group=MY_GROUP, size_bytes=len(content), sha256=digest)


def test_what_the_two_say_to_each_other(place: Path, tmp_path: Path, python: str) -> None:
    content = os.urandom(3 * MIB)
    (place / ".a.ansible_like.part").write_bytes(content[:1000])
    with Agent((received(place, content),), tmp_path / "state", python=python) as agent:
        agent.until(status="started")
        prefix = hashlib.sha256(content[:1000]).hexdigest()
        assert agent.event() == {"index": 0, "need": 1000, "sha256": prefix}
        assert agent.process.stdin
        agent.process.stdin.write(b".." + b"<" + (1000).to_bytes(8, "big") + content[1000:] + b".")
        agent.process.stdin.flush()
        assert statuses(agent.results()) == ["changed"]
    assert (place / "a").read_bytes() == content


def test_content_with_another_digest_is_removed(place: Path, tmp_path: Path) -> None:
    content = os.urandom(MIB)
    with Agent((received(place, content),), tmp_path / "state") as agent:
        agent.until(need=0)
        assert agent.process.stdin
        agent.process.stdin.write(b"<" + bytes(8) + bytes(MIB))
        agent.process.stdin.flush()
        (result,) = agent.results()
    assert result["status"] == "failed"
    assert hashlib.sha256(bytes(MIB)).hexdigest() in result["stdout_tail"]
    assert received(place, content).sha256 in result["stdout_tail"]
    assert names(place) == []


def test_a_full_disk_fails_clearly_and_is_given_back(place: Path, tmp_path: Path) -> None:
    """A limit on a file's size stands in for the disk: writing fails in the middle."""
    content = os.urandom(4 * MIB)
    with Agent((received(place, content),), tmp_path / "state") as agent:
        agent.until(need=0)
        resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, (2 * MIB, 2 * MIB))
        assert agent.process.stdin
        agent.process.stdin.write(b"<" + bytes(8) + content[: 3 * MIB])
        agent.process.stdin.flush()
        (result,) = agent.results()
    assert result["stdout_tail"] == (
        "File too large: what had arrived was removed, so that there is room again"
    )
    assert names(place) == []


MEASURED = r"""\
import re, sys
from pathlib import Path
from ansible_like.connection import Target
from ansible_like.operations import Upload
from ansible_like.runner import apply

folder, port, user, source, state, place, owner, group = sys.argv[1:]
key, host_key = (Path(folder) / "user_key").read_text(), (Path(folder) / "host_key.pub").read_text().strip()
hosts = {
    Target(f"node-{n}", "127.0.0.1", user, key, (host_key,), int(port), sudo=False): (
        Upload(f"{place}/{n}", source, owner=owner, group=group),
    )
    for n in range(2)
}
for result in apply(hosts, state_directory=state).values():
    if result.error:
        sys.exit(str(result.error))
# not getrusage: that begins with what the process had that started this one
print(int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) >> 10)
"""


def test_a_large_file_is_never_whole_in_memory(sshd: Sshd, place: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    with source.open("wb") as file:
        file.truncate(300 * MIB)
    user, state = sshd.target().user, str(tmp_path / "state")
    argv = [sys.executable, "-c", MEASURED, str(sshd.folder), str(sshd.port), user, str(source), state]
    done = subprocess.run([*argv, str(place), ME, MY_GROUP], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 120
    assert [path.stat().st_size for path in place.iterdir()] == [300 * MIB] * 2
