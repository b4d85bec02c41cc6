"""The agent as it runs on a host: what it does, what it says, and what it leaves (nothing)."""

from __future__ import annotations

import collections
import contextlib
import fcntl
import grp
import http.server
import os
import pwd
import signal
import socket
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from ansible_like.agent import journal, main
from ansible_like.agent.values import GONE, MakeDirectory, Plan
from ansible_like.operations import (
    Absent,
    AuthorizedKey,
    Command,
    Directory,
    File,
    Group,
    LineInFile,
    Link,
    Operation,
    Package,
    Sysctl,
    User,
    WaitFor,
    encode,
)
from tests.ansible_like.agents import OLDEST, Agent
from tests.ansible_like.test_operations import KEY

ME = pwd.getpwuid(os.getuid()).pw_name
MY_GROUP = grp.getgrgid(os.getgid()).gr_name
Converge = Callable[..., list[dict[str, Any]]]


def own_file(path: Path, content: str | bytes, **more: Any) -> File:
    return File(str(path), content, owner=ME, group=MY_GROUP, **more)


def own_directory(path: Path, **more: Any) -> Directory:
    return Directory(str(path), owner=ME, group=MY_GROUP, **more)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "host").mkdir()
    return tmp_path / "host"


@pytest.fixture(params=["python3", OLDEST], ids=["this python", "python 3.8"])
def converge(request: pytest.FixtureRequest, state: Path) -> Converge:
    if request.param is None:
        pytest.skip("no python 3.8 on this machine")

    def run(operations: Sequence[Operation], **options: Any) -> list[dict[str, Any]]:
        with Agent(operations, state, python=request.param, **options) as agent:
            return agent.results()

    return run


def statuses(results: list[dict[str, Any]]) -> list[str]:
    return [result["status"] for result in results]


def test_the_second_run_finds_all_as_wanted_and_says_why(converge: Converge, place: Path) -> None:
    operations: tuple[Operation, ...] = (
        own_directory(place / "a", mode=0o750),
        own_file(place / "a/text", "grüße\n", mode=0o640),
        own_file(place / "a/blob", bytes(range(256)) * 4096),
        Link(str(place / "current"), "a"),
        Command(("touch", str(place / "made")), creates=str(place / "made")),
        Command("echo 1 >> counted", unless=f"test -e {place}/a/text", name="guarded"),
        Absent(str(place / "old")),
    )
    (place / "old").mkdir()
    (place / "old" / "file").touch()

    first = converge(operations)
    assert statuses(first) == ["changed"] * 5 + ["ok", "changed"]
    assert (place / "a/text").read_text() == "grüße\n"
    assert (place / "a/blob").read_bytes() == bytes(range(256)) * 4096
    assert stat.S_IMODE((place / "a").stat().st_mode) == 0o750
    assert stat.S_IMODE((place / "a/text").stat().st_mode) == 0o640
    assert (place / "current").readlink() == Path("a")
    assert not (place / "old").exists()
    before = (place / "a/text").stat().st_mtime_ns

    second = converge(operations)
    assert statuses(second) == ["ok"] * 7
    assert all(result["why"] for result in second)
    assert (place / "a/text").stat().st_mtime_ns == before
    assert sorted(path.name for path in place.rglob("*")) == ["a", "blob", "current", "made", "text"]


def test_check_mode_tells_the_change_and_makes_none(converge: Converge, place: Path, state: Path) -> None:
    (place / "text").write_text("old\n")
    results = converge(
        (
            own_file(place / "text", "new\n"),
            own_directory(place / "folder"),
            Command(("touch", str(place / "made"))),
            Command(("touch", str(place / "after")), when_changed=(str(place / "text"),), name="after"),
            WaitFor(path=str(place / "made")),
        ),
        check=True,
    )
    assert statuses(results) == ["changed"] * 4 + ["skipped"]
    assert "-old\n+new" in results[0]["diff"]
    assert [path.name for path in place.iterdir()] == ["text"]
    assert (place / "text").read_text() == "old\n"
    assert not state.exists()


def test_a_failed_step_tells_its_command_code_and_last_lines_and_ends_the_run(
    converge: Converge, place: Path
) -> None:
    (result,) = converge(
        (
            Command("seq 100; echo reason >&2; exit 7", name="doomed"),
            own_file(place / "never", ""),
        )
    )
    assert result["status"] == "failed"
    assert result["exit_code"] == 7
    assert result["stdout_tail"] == "reason"
    assert "seq 100" in result["why"]
    assert not (place / "never").exists()


def test_a_missing_program_is_told_as_such(converge: Converge) -> None:
    (result,) = converge((Command(("no-such-program", "x")),))
    assert (result["status"], result["exit_code"]) == ("failed", 127)
    assert "cannot be started" in result["stdout_tail"]


def test_a_file_without_its_directory_or_owner_fails_and_leaves_nothing(
    converge: Converge, place: Path
) -> None:
    (result,) = converge((own_file(place / "no/such", "x"),))
    assert result["status"] == "failed"
    assert "No such file or directory" in result["stdout_tail"]
    (result,) = converge((File(str(place / "a"), "x", owner="no-such-user", group=MY_GROUP),))
    assert result["stdout_tail"] == "no user 'no-such-user' on this host"
    (result,) = converge((File(str(place / "a"), "x", owner=ME, group="no-such-group"),))
    assert result["stdout_tail"] == "no group 'no-such-group' on this host"
    assert list(place.iterdir()) == []


def test_only_a_mode_that_differs_is_set(converge: Converge, place: Path) -> None:
    converge((own_file(place / "a", "x"),))
    before = (place / "a").stat()
    (result,) = converge((own_file(place / "a", "x", mode=0o600),))
    assert (result["status"], result["why"]) == ("changed", "mode or owner")
    after = (place / "a").stat()
    assert stat.S_IMODE(after.st_mode) == 0o600
    assert (after.st_ino, after.st_mtime_ns) == (before.st_ino, before.st_mtime_ns)


def test_a_path_that_the_kernel_refuses_fails_its_step(converge: Converge) -> None:
    (result,) = converge((Absent("/" + "a" * 300),))
    assert result["status"] == "failed"
    assert "can't be read or written: [Errno 36] File name too long" in result["why"]


def test_a_guard_that_is_not_there_says_that_nothing_is_done(converge: Converge, place: Path) -> None:
    guarded = Command(("touch", str(place / "made")), unless=("no-such-program",))
    assert statuses(converge((guarded,))) == ["changed"]
    assert (place / "made").exists()


def test_a_fault_of_the_agent_names_its_file_and_line(place: Path, state: Path) -> None:
    faulty = own_file(place / "a", "", mode="rw")  # what BadPlay would refuse on the controller
    for _ in ("just compiled", "kept compiled"):
        with Agent((faulty,), state) as agent:
            assert agent.process.stderr
            trace = agent.process.stderr.read().decode()
        for module in ("start", "main"):
            assert f'File "ansible_like/agent/{module}.py", line ' in trace


def test_facts_that_a_plan_brings_to_light_are_planned_once_more(
    place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # as a RAID does, whose filesystem is known only once its disks are assembled
    inner, outer = place / "outer/inner", place / "outer"

    def plan(op: File, there: bool) -> Plan:
        make = MakeDirectory(str(inner if there else outer), 0o755, ME, MY_GROUP)
        return Plan((make,), "new", f"+ {make.path}", again=not there)

    monkeypatch.setattr(main, "handler_of", lambda _: main.Handler(lambda _: outer.exists(), plan))
    said: list[dict[str, Any]] = []
    channel = main.Channel([])
    monkeypatch.setattr(channel, "say", lambda **event: said.append(event))
    (place / "state").mkdir()
    step = own_file(inner, "")
    history = journal.Journal(str(place / "state"), [encode(step)], "run", "who", "purpose")
    main.Convergence([step], history, channel, check=False, diff=True).lead()
    assert inner.is_dir()
    (result,) = (each for each in said if "duration_s" in each)
    assert (result["status"], result["diff"]) == ("changed", f"+ {outer}\n+ {inner}")


def test_what_this_machine_has_is_read_and_left(converge: Converge, place: Path) -> None:
    me = pwd.getpwnam(ME)
    settings = {
        "kernel.ostype": "Linux",
        "kernel/pid_max": Path("/proc/sys/kernel/pid_max").read_text().strip(),
    }
    operations = (
        Group(MY_GROUP),
        User(ME, me.pw_dir, me.pw_shell, groups=(MY_GROUP,)),
        Sysctl(settings, str(place / "sysctl.conf")),
        AuthorizedKey("no-such-user", KEY, present=False),
    )
    *there, sysctl, key = converge(operations, check=True)
    assert statuses(there) == ["ok", "ok"]
    # only the file is missing, and the kernel has these values already
    assert [line for line in sysctl["diff"].splitlines() if line.startswith(("- ", "+ "))] == []
    assert "+kernel.ostype = Linux" in sysctl["diff"]
    assert key["why"].startswith("known only when the steps before are done (no user 'no-such-user'")
    (missing,) = converge((Sysctl({"kernel.no_such": "1"}, str(place / "sysctl.conf")),), check=True)
    assert missing["why"].startswith("kernel.no_such: the kernel has no such key")


def test_when_nobody_hears_it_any_more_the_command_goes(place: Path, state: Path) -> None:
    os.mkfifo(place / "fifo")
    script = f"echo $$ > {place}/pid; echo PROGRESS up; read x < {place}/fifo; echo PROGRESS on; sleep 1000"
    with Agent((Command(script, progress=True, name="endless"),), state) as agent:
        agent.until(progress="up")
        assert agent.process.stdout
        agent.process.stdout.close()
        (place / "fifo").write_text("\n")
        assert agent.process.wait(timeout=30) == GONE
    assert_gone(int((place / "pid").read_text()))


def test_progress_comes_line_by_line_while_the_command_runs(place: Path, state: Path) -> None:
    fifo = place / "go on"
    os.mkfifo(fifo)
    script = f"echo PROGRESS 1 of 2; read line < '{fifo}'; echo not this; echo PROGRESS 2 of 2"
    with Agent((Command(script, progress=True),), state) as agent:
        assert agent.until(progress="1 of 2")
        fifo.write_text("\n")
        assert agent.event()["progress"] == "2 of 2"
        assert agent.event()["status"] == "changed"


def test_allowed_exit_codes_and_the_environment(converge: Converge) -> None:
    results = converge(
        (Command(("sh", "-c", 'echo "$COLOUR"; exit 3'), ok_codes=(0, 3), environment={"COLOUR": "blau ü"}),)
    )
    assert (results[0]["status"], results[0]["exit_code"]) == ("changed", 3)
    assert results[0]["stdout_tail"] == "blau ü\n"


def test_secrets_are_masked_in_everything_that_comes_back(state: Path, place: Path) -> None:
    operations = (
        own_file(place / "env", "API_KEY=topsecret99\n", mode=0o600, secret=True),
        own_file(place / "plain", "key topsecret99\n"),
        Command(
            "cat; echo; echo PROGRESS topsecret99", progress=True, secret_stdin="pass-phrase", name="say"
        ),
        Command("echo topsecret99 >&2; exit 1", name="fail"),
    )
    with Agent(operations, state) as agent:
        assert agent.process.stdout
        assert agent.process.stderr
        output, errors = agent.process.stdout.read(), agent.process.stderr.read()
    assert (place / "env").read_text() == "API_KEY=topsecret99\n"
    assert b"topsecret99" not in output + errors
    assert b"pass-phrase" not in output + errors
    assert output.count(b"********") >= 4


def test_a_command_past_its_deadline_is_killed_with_all_its_children(converge: Converge, place: Path) -> None:
    script = f"sleep 1000 & echo $! > {place}/child; echo so far; wait"
    (result,) = converge((Command(script, deadline_s=0.5, name="endless"),))
    assert result["status"] == "failed"
    assert result["exit_code"] is None
    assert result["stdout_tail"] == "did not end within 0.5 s and was killed\nso far"
    assert_gone(int((place / "child").read_text()))


def test_what_a_finished_command_left_running_is_killed(converge: Converge, place: Path) -> None:
    script = f"sleep 1000 & echo $! > {place}/child"
    (result,) = converge((Command(script, name="leaves one"),))
    assert result["status"] == "changed"
    assert result["duration_s"] < 60
    assert_gone(int((place / "child").read_text()))


@pytest.mark.parametrize("end", ["hang up", "SIGTERM", "SIGHUP"])
def test_when_the_controller_goes_the_command_goes(place: Path, state: Path, end: str) -> None:
    script = f"sleep 1000 & echo $$ $! > {place}/pids; echo PROGRESS up; wait"
    with Agent((Command(script, progress=True), own_file(place / "never", "")), state) as agent:
        agent.until(progress="up")
        if end == "hang up":
            agent.hang_up()
        else:
            agent.process.send_signal(getattr(signal, end))
        assert agent.process.wait(timeout=30) == GONE
    for pid in (place / "pids").read_text().split():
        assert_gone(int(pid))
    assert not (place / "never").exists()


def test_waiting_ends_when_the_controller_goes(place: Path, state: Path) -> None:
    with Agent((WaitFor(path=str(place / "never"), deadline_s=1000),), state) as agent:
        agent.until(status="started")
        agent.hang_up()
        assert agent.process.wait(timeout=30) == GONE


def test_wait_for_a_path_and_a_port(place: Path, state: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        operation = WaitFor(path=str(place / "flag"), port=server.getsockname()[1])
        with Agent((operation,), state) as agent:
            agent.until(status="started")
            (place / "flag").touch()
            result = agent.event()
    assert result["status"] == "ok"


def test_what_does_not_come_is_a_failure_that_names_it(converge: Converge, place: Path) -> None:
    (result,) = converge((WaitFor(path=str(place / "never"), deadline_s=0),))
    assert result["why"] == f"wait for {place}/never"
    assert result["stdout_tail"] == "not there after 0 s"
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (result,) = converge((WaitFor(port=port, deadline_s=0),))
    assert result["why"] == f"wait for 127.0.0.1:{port}"


def test_a_hundred_megabytes_of_output_are_no_burden(converge: Converge) -> None:
    (result,) = converge((Command("head -c 100000000 /dev/zero | tr '\\0' x; echo; echo the end"),))
    assert result["status"] == "changed"
    assert result["stdout_tail"].endswith("x\nthe end\n")
    assert len(result["stdout_tail"]) <= 4000


def test_broken_utf_8_is_replaced(converge: Converge) -> None:
    (result,) = converge((Command("printf 'a\\377b'"),))
    assert result["stdout_tail"] == "a\ufffdb"


def test_locale_c_and_paths_in_utf_8(converge: Converge, place: Path) -> None:
    environment = {"LC_ALL": "C", "LANG": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    path = place / "größe 日本"
    operations = (own_file(path, "ü"), Command(("cp", str(path), f"{path}2"), creates=f"{path}2"))
    assert statuses(converge(operations, environment=environment)) == ["changed", "changed"]
    assert path.read_text(encoding="utf-8") == "ü"
    assert Path(f"{path}2").read_text(encoding="utf-8") == "ü"
    assert statuses(converge(operations, environment=environment)) == ["ok", "ok"]


def test_a_second_run_is_told_who_holds_the_host(place: Path, state: Path) -> None:
    fifo = place / "go on"
    os.mkfifo(fifo)
    with Agent((Command(f"echo PROGRESS up; read line < '{fifo}'", progress=True),), state) as first:
        first.until(progress="up")
        with Agent((own_file(place / "other", ""),), state) as second:
            (said,) = second.results()
        assert said["busy"].startswith("process 1 on here, for tests, since 2")
        assert not (place / "other").exists()
        fifo.write_text("\n")
        assert first.until(status="changed")
    with Agent((own_file(place / "other", ""),), state) as third:
        assert statuses(third.results()) == ["changed"]


def test_a_run_waits_for_the_one_before_it(place: Path, state: Path) -> None:
    state.mkdir()
    with (state / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with Agent((own_file(place / "a", ""),), state, lock_wait_s=60) as agent:
            while str(state / "lock") not in opened_by(agent.process.pid):
                assert agent.process.poll() is None
            fcntl.flock(lock, fcntl.LOCK_UN)
            assert statuses(agent.results()) == ["changed"]


def opened_by(pid: int) -> set[str]:
    paths = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            paths.add(str(descriptor.readlink()))
    return paths


def test_a_change_whose_consequence_failed_is_still_to_be_acted_on(place: Path, state: Path) -> None:
    conf = own_file(place / "conf", "v1\n")
    act = Command(f"test -e {place}/ready", when_changed=(str(place / "conf"),), name="act")
    with Agent((conf, act), state) as first:
        assert statuses(first.results()) == ["changed", "failed"]
    (place / "ready").touch()
    with Agent((conf, act), state) as second:
        assert statuses(second.results()) == ["ok", "changed"]


def test_a_stale_temporary_of_a_power_loss_is_taken_away(converge: Converge, place: Path) -> None:
    (place / ".conf.ansible_like").write_text("half")
    assert statuses(converge((own_file(place / "conf", "whole"),))) == ["changed"]
    assert [path.name for path in place.iterdir()] == ["conf"]
    assert (place / "conf").read_text() == "whole"


def test_a_planted_link_at_the_temporary_name_is_not_followed(converge: Converge, place: Path) -> None:
    (place / ".conf.ansible_like").symlink_to(place / "victim")
    assert statuses(converge((own_file(place / "conf", "x"),))) == ["changed"]
    assert not (place / "victim").exists()


def test_a_refusal_tells_the_way_out(converge: Converge, place: Path) -> None:
    (place / "folder").mkdir()
    (result,) = converge((own_file(place / "folder", "x"),))
    assert result["status"] == "failed"
    assert result["why"].endswith("is a directory: remove it or choose another path")


@pytest.mark.skipif(not Path("/usr/bin/dpkg-query").exists(), reason="not a Debian")
def test_packages_that_are_there_and_not_there(converge: Converge, state: Path) -> None:
    assert statuses(converge((Package(("dpkg",)),))) == ["ok"]
    (result,) = converge((Package(("no-such-package-here",)),), check=True)
    assert (result["status"], result["diff"]) == ("changed", "+ no-such-package-here")


def test_an_empty_desired_state_is_fine(converge: Converge) -> None:
    assert converge(()) == []


def assert_gone(pid: int) -> None:
    """No such process, or one that ended and that only its new parent has not looked at yet."""
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        assert Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"


def test_a_line_is_edited_in_place_once(converge: Converge, place: Path) -> None:
    (place / "conf").write_bytes("größe=1\n# ende".encode())
    (place / "conf").chmod(0o640)
    operations = (LineInFile(str(place / "conf"), "größe=2", replaces="^größe="),)
    (checked,) = converge(operations, check=True)
    assert (checked["status"], checked["diff"]) == ("changed", "- größe=1\n+ größe=2")
    for status in ("changed", "ok"):
        assert statuses(converge(operations)) == [status]
        assert (place / "conf").read_bytes() == "größe=2\n# ende".encode()
        assert stat.S_IMODE((place / "conf").stat().st_mode) == 0o640
    assert [path.name for path in place.iterdir()] == ["conf"]


def test_a_secret_line_is_masked_in_everything_that_comes_back(state: Path, place: Path) -> None:
    (place / "env").write_text("KEY=old-secret\n")
    line = LineInFile(str(place / "env"), "KEY=topsecret99", replaces="^KEY=", secret=True)
    with Agent((line, Command("echo topsecret99", name="leak")), state) as agent:
        assert agent.process.stdout
        output = agent.process.stdout.read()
    assert (place / "env").read_text() == "KEY=topsecret99\n"
    assert b"topsecret99" not in output
    assert b"old-secret" not in output


def test_a_command_is_tried_again_until_its_code_is_allowed(state: Path, place: Path) -> None:
    script = f"echo x >> {place}/tries; test $(wc -l < {place}/tries) = 3"
    with Agent((Command(script, retries=5, retry_delay_s=0, name="flaky"),), state) as agent:
        assert agent.until(progress="exit code 1; again in 0 s, 5 more at most")
        assert agent.until(progress="exit code 1; again in 0 s, 4 more at most")
        assert statuses(agent.results()) == ["changed"]
    assert (place / "tries").read_text() == "x\n" * 3


def test_tries_end_and_are_told_and_a_deadline_is_not_tried_again(converge: Converge, place: Path) -> None:
    (result,) = converge((Command("echo reason >&2; exit 4", retries=2, retry_delay_s=0),))
    assert (result["exit_code"], result["stdout_tail"]) == (4, "tried 3 times\nreason")
    script = f"echo x >> {place}/tries; sleep 1000"
    (result,) = converge((Command(script, retries=2, retry_delay_s=0, deadline_s=0.5),))
    assert result["exit_code"] is None
    assert (place / "tries").read_text() == "x\n"


def test_a_directory_holds_for_the_guard_too(converge: Converge, place: Path) -> None:
    operations = (Command("touch here", directory=str(place), unless="test -e here"),)
    assert statuses(converge(operations)) == ["changed"]
    assert statuses(converge(operations)) == ["ok"]
    (result,) = converge((Command("true", directory=str(place / "no")),))
    assert "No such file or directory" in result["stdout_tail"]


def test_who_is_not_on_the_host_runs_nothing(converge: Converge) -> None:
    (result,) = converge((Command("true", user="no-such-user"),))
    assert result["why"].startswith("no user 'no-such-user' on this host")
    (result,) = converge((Command('echo "$USER"', user=ME),))
    assert (result["status"], result["stdout_tail"]) == ("changed", f"{ME}\n")


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers with the statuses that its path names, one after the other; the last one repeats."""

    asked: ClassVar[collections.Counter[str]] = collections.Counter()

    def do_GET(self) -> None:
        statuses = self.path.partition("?")[0].strip("/").split("-")
        self.send_response(int(statuses[min(self.asked[self.path], len(statuses) - 1)]))
        self.asked[self.path] += 1
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing: the test's output is the agent's."""


@pytest.fixture
def web() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_a_url_that_answers_and_one_that_does_not(converge: Converge, web: str) -> None:
    fine = (WaitFor(url=f"{web}/204"), WaitFor(url=f"{web}/302"), WaitFor(url=f"{web}/401", status=401))
    assert statuses(converge(fine)) == ["ok"] * 3
    (result,) = converge((WaitFor(url=f"{web.replace('//', '//me:topsecret@')}/503?k=hidden", deadline_s=0),))
    assert result["why"] == f"wait for {web}/503?…"
    assert result["stdout_tail"] == (
        "no such answer after 0 s; last seen: HTTP status 503 Service Unavailable"
    )
    assert "topsecret" not in str(result)


def test_a_wait_ends_as_soon_as_the_answer_is_right(state: Path, web: str) -> None:
    with Agent((WaitFor(url=f"{web}/503-500-503-200"),), state) as agent:
        assert statuses(agent.results()) == ["ok"]
    assert Answers.asked["/503-500-503-200"] == 4


def test_what_answers_without_http_is_told_as_such(converge: Converge) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def greet() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with server.accept()[0] as connection:
                        connection.sendall(b"SSH-2.0-x\r\n")

        thread = threading.Thread(target=greet)
        thread.start()
        try:
            url = f"http://127.0.0.1:{server.getsockname()[1]}/"
            (result,) = converge((WaitFor(url=url, deadline_s=0),))
        finally:
            server.shutdown(socket.SHUT_RDWR)
            thread.join()
    assert result["stdout_tail"] == "no such answer after 0 s; last seen: no HTTP: BadStatusLine"


def test_at_the_deadline_a_wait_says_what_it_saw_last(converge: Converge) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    (result,) = converge((WaitFor(port=port, deadline_s=0),))
    assert result["stdout_tail"] == "nothing listens after 0 s; last seen: connection refused"
    (result,) = converge((WaitFor(url=f"http://127.0.0.1:{port}/", deadline_s=0),))
    assert result["stdout_tail"] == "no such answer after 0 s; last seen: connection refused"
