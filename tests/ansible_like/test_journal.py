"""What a host remembers of a run that was killed or failed, and how the next one goes on from there."""

from __future__ import annotations

import fcntl
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ansible_like.agent import boot
from ansible_like.agent.boot import BootFacts
from ansible_like.agent.journal import HISTORY_BYTES, Journal
from ansible_like.agent.values import EndBoot
from ansible_like.operations import Command, Operation, Reboot
from tests.ansible_like.agents import Agent
from tests.ansible_like.conftest import Sshd
from tests.ansible_like.test_agent import assert_gone, own_file, statuses


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "host").mkdir()
    return tmp_path / "host"


def converge(state: Path, *operations: Operation, **options: Any) -> list[dict[str, Any]]:
    """Waits for the lock: what was killed may just be about to end its command."""
    with Agent(operations, state, lock_wait_s=30, **options) as agent:
        return agent.results()


def counts(place: Path, name: str) -> Command:
    """A command that no guard knows of, and that leaves a line each time it runs."""
    return Command(f"echo x >> {place}/{name}", name=name)


def runs(place: Path, name: str) -> int:
    return len((place / name).read_text().splitlines()) if (place / name).exists() else 0


def hangs(place: Path) -> Command:
    script = f"test -e {place}/go && exit; echo $$ > {place}/pid; echo PROGRESS up; sleep 1000; :"
    return Command(script, progress=True, name="hangs")


def kill_in(place: Path, state: Path, *operations: Operation) -> None:
    """SIGKILL to the agent while it runs the step that hangs."""
    with Agent(operations, state, lock_wait_s=30) as agent:
        agent.until(progress="up")
        agent.process.kill()
        agent.process.wait()
    (place / "go").touch()


class TestKilled:
    def test_what_was_done_is_not_repeated_and_what_ran_is_run_again(self, place: Path, state: Path) -> None:
        steps = (own_file(place / "a", "1"), counts(place, "first"), hangs(place), counts(place, "last"))
        kill_in(place, state, *steps)
        results = converge(state, *steps)
        assert statuses(results) == ["ok", "ok", "changed", "changed"]
        assert results[1]["why"].startswith("done at 20")
        assert (runs(place, "first"), runs(place, "last")) == (1, 1)
        assert_gone(int((place / "pid").read_text()))

    def test_when_it_has_ended_the_next_one_begins_anew(self, place: Path, state: Path) -> None:
        steps = (counts(place, "first"), hangs(place))
        kill_in(place, state, *steps)
        converge(state, *steps)
        assert statuses(converge(state, *steps)) == ["changed", "changed"]
        assert runs(place, "first") == 2

    def test_what_only_its_own_end_left_is_gone_with_the_next_one(self, place: Path, state: Path) -> None:
        converge(state, counts(place, "first"))
        assert (state / "journal.jsonl").exists()
        converge(state, own_file(place / "a", "1"))
        assert sorted(path.name for path in state.iterdir()) == ["agent", "history.jsonl", "lock"]

    def test_when_the_next_one_is_killed_too_only_what_that_did_is_done(
        self, place: Path, state: Path
    ) -> None:
        first, second = counts(place, "first"), counts(place, "second")
        converge(state, first, second)
        kill_in(place, state, first, hangs(place))
        assert statuses(converge(state, first, second)) == ["ok", "changed"]
        assert (runs(place, "first"), runs(place, "second")) == (2, 2)

    def test_two_kills_in_a_row_lose_nothing(self, place: Path, state: Path) -> None:
        steps = (counts(place, "first"), hangs(place), counts(place, "last"))
        for _ in range(2):
            kill_in(place, state, *steps)
            (place / "go").unlink()
        (place / "go").touch()
        converge(state, *steps)
        assert (runs(place, "first"), runs(place, "last")) == (1, 1)

    def test_a_change_before_it_makes_a_command_run_again(self, place: Path, state: Path) -> None:
        steps = (own_file(place / "a", "1"), counts(place, "first"), hangs(place))
        kill_in(place, state, *steps)
        (place / "a").write_text("torn")
        assert statuses(converge(state, *steps)) == ["changed", "changed", "changed"]
        assert runs(place, "first") == 2

    def test_other_steps_before_it_make_a_command_run_again(self, place: Path, state: Path) -> None:
        kill_in(place, state, counts(place, "first"), hangs(place))
        converge(state, own_file(place / "a", "1"), counts(place, "first"), hangs(place))
        assert runs(place, "first") == 2

    def test_a_guard_knows_better_than_the_journal(self, place: Path, state: Path) -> None:
        made = Command(f"echo x >> {place}/made", creates=f"{place}/made", name="made")
        kill_in(place, state, made, hangs(place))
        (place / "made").unlink()
        assert statuses(converge(state, made, hangs(place))) == ["changed", "changed"]

    def test_a_change_is_still_acted_on(self, place: Path, state: Path) -> None:
        conf = own_file(place / "conf", "v1\n")
        act = Command(f"echo acted >> {place}/acts", when_changed=(str(place / "conf"),), name="act")
        kill_in(place, state, conf, hangs(place), act)
        assert statuses(converge(state, conf, act)) == ["ok", "changed"]
        assert statuses(converge(state, conf, act)) == ["ok", "ok"]
        assert runs(place, "acts") == 1

    def test_a_change_is_still_acted_on_when_another_play_came_between(
        self, place: Path, state: Path
    ) -> None:
        conf = own_file(place / "conf", "v1\n")
        act = Command(f"echo acted >> {place}/acts", when_changed=(str(place / "conf"),), name="act")
        kill_in(place, state, conf, counts(place, "first"), hangs(place), act)
        converge(state, counts(place, "another's"))
        # but what was done before the other play is not taken for done after it
        steps = (conf, counts(place, "first"), hangs(place), act)
        assert statuses(converge(state, *steps)) == ["ok", "changed", "changed", "changed"]

    def test_checking_tells_what_is_left_and_leaves_the_journal_alone(self, place: Path, state: Path) -> None:
        steps = (counts(place, "first"), hangs(place), counts(place, "last"))
        kill_in(place, state, *steps)
        before = (state / "journal.jsonl").read_bytes()
        assert statuses(converge(state, *steps, check=True)) == ["ok", "changed", "changed"]
        assert (state / "journal.jsonl").read_bytes() == before


def test_a_run_whose_end_went_unheard_comes_again_and_repeats_nothing(place: Path, state: Path) -> None:
    conf = own_file(place / "conf", "v1\n")
    acts = Command(f"echo x >> {place}/acts", when_changed=(str(place / "conf"),), name="acts")
    steps = (counts(place, "first"), conf, acts, counts(place, "last"))
    assert statuses(converge(state, *steps, run="one")) == ["changed"] * 4
    for _ in range(2):
        assert statuses(converge(state, *steps, run="one")) == ["ok"] * 4
    assert [runs(place, name) for name in ("first", "acts", "last")] == [1, 1, 1]
    assert statuses(converge(state, *steps, run="two")) == ["changed", "ok", "ok", "changed"]


def test_an_end_that_cannot_be_kept_is_told(place: Path, state: Path) -> None:
    # the last command leaves no room for the journal's next version
    fills = Command(f"mkdir {state}/journal.jsonl.ansible_like", unless="false", name="fills")
    said = _said(state, counts(place, "first"), fills)
    assert "journal.jsonl" in said[-1]["unusable"]


def test_a_failed_run_goes_on_where_it_failed(place: Path, state: Path) -> None:
    steps = (counts(place, "first"), Command(f"test -e {place}/mended", name="fails"), counts(place, "last"))
    assert statuses(converge(state, *steps)) == ["changed", "failed"]
    (place / "mended").touch()
    assert statuses(converge(state, *steps)) == ["ok", "changed", "changed"]
    assert (runs(place, "first"), runs(place, "last")) == (1, 1)


@pytest.mark.parametrize("torn", [b'{"done": "', b"\xff\xfe", b"[]\n", b"null\n"])
def test_a_torn_line_says_nothing(place: Path, state: Path, torn: bytes) -> None:
    steps = (counts(place, "first"), hangs(place))
    kill_in(place, state, *steps)
    with (state / "journal.jsonl").open("ab") as file:
        file.write(torn)
    assert statuses(converge(state, *steps)) == ["ok", "changed"]


class TestHistory:
    def test_it_tells_what_was_changed_and_what_failed_and_for_whom(self, place: Path, state: Path) -> None:
        fails = Command("echo reason >&2; exit 3", name="fails")
        converge(state, own_file(place / "a", "1"), fails)
        converge(state, own_file(place / "a", "1"))
        first, second = map(json.loads, (state / "history.jsonl").read_text().splitlines())
        assert (first["title"], first["status"], first["why"]) == (f"file {place}/a", "changed", "new")
        assert (first["who"], first["purpose"], first["at"][:2]) == ("process 1 on here", "tests", "20")
        assert (second["status"], second["why"].splitlines()[-1]) == ("failed", "reason")

    def test_it_is_bounded_and_keeps_the_latest(self, tmp_path: Path) -> None:
        journal = Journal(str(tmp_path), (), "run", "who", "purpose")
        for number in range(HISTORY_BYTES // 1000):
            journal.tell(f"step {number}", "changed", "x" * 1000)
        lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
        assert lines[-1]["title"] == f"step {HISTORY_BYTES // 1000 - 1}"
        assert HISTORY_BYTES / 4 < (tmp_path / "history.jsonl").stat().st_size <= HISTORY_BYTES

    def test_what_a_full_disk_refuses_is_not_tried_again(self, tmp_path: Path) -> None:
        journal = Journal(str(tmp_path), (), "run", "who", "purpose")
        journal.tell("before", "changed", "")
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
        try:
            with pytest.raises(OSError, match="File too large"):
                journal.tell("refused", "changed", "")
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        journal.tell("after", "changed", "")
        lines = [json.loads(line) for line in (tmp_path / "history.jsonl").read_text().splitlines()]
        assert [line["title"] for line in lines] == ["before", "after"]

    def test_no_secret_is_in_what_stays_on_the_host(self, place: Path, state: Path) -> None:
        secret = "topsecret99"
        steps = (
            own_file(place / "env", f"KEY={secret}\n", mode=0o600, secret=True),
            Command("cat", secret_stdin=secret, name="reads"),
            Command("cat >&2; exit 1", secret_stdin=secret, name="tells"),
        )
        converge(state, *steps)
        assert (state / "journal.jsonl").exists()
        for path in state.iterdir():
            assert secret.encode() not in path.read_bytes(), path
            assert path.stat().st_mode & 0o077 == 0 or path.name == "lock"


@pytest.mark.parametrize("what", ["writable by others", "a link", "a file", "read-only"])
def test_a_state_directory_that_cannot_be_trusted_is_told(place: Path, state: Path, what: str) -> None:
    if what == "writable by others":
        state.mkdir()
        state.chmod(0o777)
    elif what == "a link":
        (place / "elsewhere").mkdir(mode=0o700)
        state.symlink_to(place / "elsewhere")
    elif what == "a file":
        state.write_text("")
    else:
        state = Path("/proc/nowhere")
    (said,) = (each for each in _said(state, own_file(place / "a", "")) if "unusable" in each)
    assert str(state) in said["unusable"]
    assert not (place / "a").exists()


def _said(state: Path, *operations: Operation) -> list[dict[str, Any]]:
    with Agent(operations, state) as agent:
        assert agent.process.stdout
        said = [json.loads(line) for line in agent.process.stdout]
        assert agent.process.wait() == 0
        return said


class TestReboot:
    op = Reboot(when_changed=("/etc/a",), deadline_s=5)

    @pytest.mark.parametrize(
        ("changed", "required", "why"),
        [(True, False, "what needs it changed"), (False, True, "/run/reboot-required is there")],
    )
    def test_it_is_due(self, changed: bool, required: bool, why: str) -> None:
        plan = boot.plan(self.op, BootFacts("one", required), changed, "")
        assert (plan.actions, plan.ends_boot, plan.why) == ((EndBoot(5),), "one", why)

    def test_it_is_not_due(self) -> None:
        plan = boot.plan(self.op, BootFacts("one", required=False), False, "")
        assert (plan.actions, plan.happened) == ((), False)
        assert plan.why == "no /run/reboot-required, and unchanged: /etc/a"

    @pytest.mark.parametrize("required", [True, False])
    def test_after_it_the_run_goes_on_whatever_still_asks_for_it(self, required: bool) -> None:
        plan = boot.plan(self.op, BootFacts("two", required), True, "one")
        assert (plan.actions, plan.happened, plan.diff) == ((), True, "- boot one\n+ boot two")

    def test_one_that_did_not_come_is_asked_for_again(self) -> None:
        assert boot.plan(self.op, BootFacts("one", required=False), False, "one").actions == (EndBoot(5),)


CONTROLLER = """
import os, signal, sys
from pathlib import Path
from ansible_like.connection import Target
from ansible_like.runner import apply
from tests.ansible_like.test_journal import all_kinds

port, user, state, place, moment = sys.argv[1:]
keys = Path(os.environ["KEYS"])
target = Target(
    "node-0", "127.0.0.1", user, (keys / "user_key").read_text(), ((keys / "host_key.pub").read_text(),),
    int(port), sudo=False,
)
seen = 0
def on_event(event):
    global seen
    seen += 1
    if str(seen) == moment:
        os.kill(os.getpid(), signal.SIGKILL)
result = apply({target: all_kinds(Path(place))}, state_directory=state, on_event=on_event)["node-0"]
print(*(each.status for each in result.operations), result.error or "")
"""


def all_kinds(place: Path) -> tuple[Operation, ...]:
    return (
        counts(place, "first"),
        own_file(place / "a", "1"),
        Command(f"echo x >> {place}/acts", when_changed=(f"{place}/a",), name="acts"),
        counts(place, "last"),
        hangs(place),
    )


@pytest.mark.parametrize("moment", range(1, 10))
def test_a_controller_killed_at_any_boundary_of_a_step(
    sshd: Sshd, place: Path, state: Path, moment: int
) -> None:
    """Each step tells that it starts and that it has ended; the last one does not end by itself."""

    def control(at: int) -> subprocess.CompletedProcess[str]:
        target = sshd.target()
        words = (str(target.port), target.user, str(state), str(place), str(at))
        return subprocess.run(
            [sys.executable, "-c", CONTROLLER, *words],
            env={**os.environ, "KEYS": str(sshd.folder)},
            capture_output=True,
            text=True,
            check=False,
        )

    assert control(moment).returncode == -signal.SIGKILL
    with (state / "lock").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # its agent has ended, which may have come to the last step
    (place / "go").touch()
    again = control(0)
    assert (again.returncode, again.stderr) == (0, "")
    assert len(again.stdout.split()) == 5
    assert "failed" not in again.stdout
    # the agent may have come further than its controller lived to hear; what was heard of is not repeated,
    # and of the others at most the one command in which the agent was ended
    done = [runs(place, "first"), 1, runs(place, "acts"), runs(place, "last")]
    heard = done[: moment // 2]
    assert heard == [1] * len(heard)
    assert sorted(done) in ([1, 1, 1, 1], [1, 1, 1, 2])
    assert (place / "a").read_text() == "1"
    assert "ended" in (state / "journal.jsonl").read_text().splitlines()[-1]
