"""What is shown of a roll-out: rows, lines and objects, told by events and a clock of the test."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any

import pytest
from rich.console import Console

from ansible_like.result import (
    Event,
    EventStatus,
    HostResult,
    Interrupted,
    OperationResult,
    Status,
    StepFailed,
    Unreachable,
)
from ansible_like.rollout import RolloutResult
from scripts.apply_board import Board, Row, State, fitting
from scripts.apply_json import JsonView
from scripts.apply_live import LiveView
from scripts.apply_plain import PlainView
from scripts.apply_text import clean, duration, one_line, verdict

HOSTILE = "\x1b[31mred\x1b[0m \x1b]0;title\x07\x9b2Jx\x08\x07\r\nnext\ttab\u202e\udcff"


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


def event(host: str, index: int, status: EventStatus, detail: str = "", **more: Any) -> Event:
    result = None
    if status != "started" and status != "progress":  # noqa: PLR1714 - mypy narrows this
        result = OperationResult(f"file /{index}", status, detail, **more)
    return Event(host, index, 3, f"file /{index}", status, detail, result)


def result_of(
    host: str, *statuses: Status, interrupted: bool = False, unreachable: bool = False
) -> HostResult:
    operations = tuple(
        OperationResult(f"file /{index}", status, f"why {index}", stdout_tail="last words", exit_code=7)
        for index, status in enumerate(statuses, start=1)
    )
    if interrupted:
        what = "the run was ended when step 2 of 3, file /2, was running"
        return HostResult(host, operations, Interrupted(host, what, "run it again"))
    if unreachable:
        return HostResult(host, operations, Unreachable(host, "SSH did not answer", "see that it runs"))
    if statuses[-1] == "failed":
        place = f"{len(statuses)} of 3"
        return HostResult(host, operations, StepFailed(host, place, operations[-1]))
    return HostResult(host, operations)


class TestText:
    def test_control_sequences_go_and_lines_stay(self) -> None:
        assert clean(HOSTILE) == "red x\nnext\ttab\ufffd"
        assert one_line(HOSTILE) == "red x next tab \ufffd".replace("tab ", "tab")

    @pytest.mark.parametrize(
        ("text", "cleaned"),
        [
            ("10 %\r20 %\r\r\n30 %", "10 %\n20 %\n30 %"),
            ("\x1b(B\x1bM\x1b7x", "x"),
            ("\x1bP1;2|secret\x1b\\x", "x"),
            ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
            ("\x1b]0;never ended\nnext", "\nnext"),
            ("a\x00\x7f\x85b\u2028c", "a\nb\nc"),
            ("\x1b", ""),
            ("[bold]x[/bold] 100 % ✓ é\n", "[bold]x[/bold] 100 % ✓ é\n"),
        ],
    )
    def test_every_kind_of_sequence(self, text: str, cleaned: str) -> None:
        assert clean(text) == cleaned

    @pytest.mark.parametrize(
        ("seconds", "said"),
        [
            *((0, "0.0 s"), (9.94, "9.9 s"), (9.96, "10 s"), (59.9, "59 s"), (60, "1:00 min")),
            *((3599, "59:59 min"), (3600, "1:00:00 h"), (90061, "25:01:01 h")),
        ],
    )
    def test_times(self, seconds: float, said: str) -> None:
        assert duration(seconds) == said

    def test_the_last_word_says_who_was_not_tried_and_why(self) -> None:
        ended = {"a": result_of("a", "changed"), "b": result_of("b", "failed")}
        assert list(verdict("site", RolloutResult(ended, ("c",)), check=True)) == [
            "site, 3 hosts: 1 would change, 1 failed, 1 not tried",
            "more hosts failed than the play allows (max_failures), so no further batch was started",
        ]
        only = RolloutResult({"a": result_of("a", "ok")}, (), interrupted=True)
        assert list(verdict("site", only, check=False)) == [
            "site, 1 host: 1 ok",
            "interrupted; run it again: it goes on where it stopped",
        ]


class TestFitting:
    def rows(self, *groups: tuple[State, int]) -> list[Row]:
        return [
            Row(f"{state}-{number}", state, began_s=-number, ended_s=number if state == "changed" else None)
            for state, count in groups
            for number in range(count)
        ]

    def test_all_rows_in_their_order_where_they_fit(self) -> None:
        rows = self.rows(("waiting", 2), ("ok", 2), ("failed", 2))
        assert fitting(rows, 6) == (rows, {})

    def test_failed_and_active_ones_stay_and_the_rest_is_counted(self) -> None:
        rows = self.rows(("waiting", 50), ("changed", 40), ("running", 6), ("failed", 3), ("connecting", 1))
        shown, left_out = fitting(rows, 12)
        assert {row.state for row in shown[2:]} == {"running", "failed", "connecting"}
        assert [row.host for row in shown[:2]] == ["changed-38", "changed-39"]
        assert left_out == {"waiting": 50, "changed": 38}

    @pytest.mark.parametrize(("failed", "running"), [(90, 10), (10, 90), (50, 50)])
    def test_neither_failed_nor_active_ones_drive_out_the_other(self, failed: int, running: int) -> None:
        shown, left_out = fitting(self.rows(("failed", failed), ("running", running)), 20)
        states = [row.state for row in shown]
        assert states.count("failed") == states.count("running") == 10
        assert left_out.total() == 80

    def test_who_has_worked_longest_is_seen(self) -> None:
        shown, _ = fitting(self.rows(("running", 9)), 2)
        assert [row.host for row in shown] == ["running-7", "running-8"]


def test_a_board_follows_a_host() -> None:
    board = Board(["a", "b"])
    assert board.states() == {"waiting": 2}
    board.start(["a"], 5)
    assert (board.rows["a"].state, board.rows["b"].state) == ("connecting", "waiting")
    board.hear(event("a", 2, "progress", "half"))
    row = board.rows["a"]
    assert (row.state, row.index, row.total, row.title, row.detail) == ("running", 2, 3, "file /2", "half")
    board.hear(event("a", 2, "ok", "as wanted"))
    assert board.rows["a"].detail == ""
    board.hear(event("a", 2, "failed", "/bin/sh -c …", stdout_tail="first\nlast\n"))
    assert board.rows["a"].detail == "last"
    board.hear(event("a", 2, "failed", "no such user"))
    assert board.rows["a"].detail == "no such user"
    board.end(result_of("a", "ok", "changed"), 9)
    assert (board.rows["a"].state, board.rows["a"].elapsed_s(1e9)) == ("changed", 4)


class TestLive:
    def view(self, clock: Clock, hosts: int, width: int = 80, height: int = 24, **more: Any) -> LiveView:
        self.console = Console(
            file=io.StringIO(), width=width, height=height, force_terminal=True, color_system=None
        )
        names = [f"web-{number}" for number in range(hosts)]
        options = {"check": False, "console": self.console, "clock": clock, **more}
        return LiveView("site", [names[:2], names[2:]], **options)

    def screen(self, view: LiveView) -> list[str]:
        console = Console(file=io.StringIO(), width=self.console.width, record=True, color_system=None)
        console.print(view.render())
        return [line.rstrip() for line in console.export_text().splitlines()]

    def test_one_row_for_each_host(self, clock: Clock) -> None:
        view = self.view(clock, 5)
        view.batch(1, ["web-0", "web-1"])
        view.event(event("web-0", 1, "ok"))
        view.event(event("web-0", 2, "changed"))
        view.host(result_of("web-0", "ok", "changed"))
        view.host(result_of("web-1", "failed"))
        clock.now_s += 61
        view.batch(2, ["web-2", "web-3", "web-4"])
        view.event(event("web-2", 2, "started"))
        view.event(event("web-3", 1, "progress", "40 %"))
        clock.now_s += 4
        assert self.screen(view) == [
            "site  batch 2 of 2, 1:05 min  1 failed, 2 running, 1 connecting, 1 changed",
            "host   step                                                   status       time",
            "web-0   2/3  1 ok, 1 changed                                  changed     0.0 s",
            "web-1                                                         failed      0.0 s",
            "web-2   2/3  file /2                                          running     4.0 s",
            "web-3   1/3  40 %                                             running     4.0 s",
            "web-4                                                         connecting  4.0 s",
        ]

    def test_a_wide_terminal_has_title_and_progress(self, clock: Clock) -> None:
        view = self.view(clock, 3, width=120)
        view.event(event("web-0", 1, "progress", "40 %"))
        row = next(line for line in self.screen(view) if line.startswith("web-0"))
        assert row.split("  ")[1].strip() == "1/3"
        assert "file /1" in row
        assert "40 %" in row

    @pytest.mark.parametrize("height", [10, 24, 3])
    def test_many_hosts_fit_the_terminal(self, clock: Clock, height: int) -> None:
        view = self.view(clock, 100, height=height)
        view.host(result_of("web-99", "failed", unreachable=True))
        view.event(event("web-98", 1, "started"))
        lines = self.screen(view)
        assert len(lines) < max(height, 5)
        assert any(line.startswith("web-99") for line in lines)
        assert lines[-1].startswith("… and ")
        assert "98 waiting" in lines[0]

    def test_no_line_is_wider_than_the_terminal(self, clock: Clock) -> None:
        view = self.view(clock, 4, width=40)
        view.event(Event("web-1", 1, 3, "long " * 40, "progress", "detail " * 40))
        view.interrupted()
        assert max(map(len, self.screen(view))) < 40

    def test_nothing_of_a_host_moves_the_cursor(self, clock: Clock) -> None:
        view = self.view(clock, 3)
        with view:
            view.event(Event("web-1", 1, 3, HOSTILE, "progress", HOSTILE))
            view.event(event("web-0", 1, "changed", diff=f"+{HOSTILE}"))
        failed = StepFailed(
            "web-0", "1 of 3", OperationResult(HOSTILE, "failed", HOSTILE, stdout_tail=HOSTILE)
        )
        view.summary(RolloutResult({"web-0": HostResult("web-0", (), failed)}))
        output = self.console.file.getvalue()  # type: ignore[attr-defined]
        assert "\x1b[31m" not in output
        assert "\x1b]" not in output
        assert not set("\x07\x08\x9b\u202e") & set(output)
        assert "+red x" in output

    def test_what_looks_like_markup_stands_as_it_is(self, clock: Clock) -> None:
        view = self.view(clock, 3)
        view.event(Event("web-1", 1, 3, "[red]x[/]", "started"))
        assert any("[red]x[/]" in line for line in self.screen(view))

    def test_the_check_says_what_would_change_and_an_interrupt_that_it_ends(self, clock: Clock) -> None:
        view = self.view(clock, 2, check=True)
        view.host(result_of("web-0", "changed"))
        view.interrupted()
        lines = self.screen(view)
        assert "check, nothing is changed, ending the runs" in lines[0]
        assert "1 would change" in lines[2]

    def test_the_summary_has_counts_then_errors_then_the_last_word(self, clock: Clock) -> None:
        view = self.view(clock, 4)
        view.batch(1, ["web-0", "web-1"])
        clock.now_s += 2
        ended = {"web-0": result_of("web-0", "ok", "changed"), "web-1": result_of("web-1", "ok", "failed")}
        for result in ended.values():
            view.host(result)
        view.summary(RolloutResult(ended, ("web-2", "web-3")))
        output = self.console.file.getvalue()  # type: ignore[attr-defined]
        assert [line.rstrip() for line in output.splitlines()] == [
            "host   ok  changed  skipped  failed   time",
            "web-0   1        1        0       0  2.0 s  changed",
            "web-1   1        0        0       1  2.0 s  failed",
            "web-2                                       not tried",
            "web-3                                       not tried",
            "",
            "web-1",
            "  step 2 of 3, file /2, failed: why 2 (exit code 7)",
            "        last words",
            "      → mend the cause and run again: what is done already is left as it is",
            "",
            "site, 4 hosts: 1 changed, 1 failed, 2 not tried",
            "more hosts failed than the play allows (max_failures), so no further batch was",
            "started",
        ]


class TestPlain:
    @pytest.fixture
    def view(self, clock: Clock) -> PlainView:
        view = PlainView("site", [["a", "b"], ["c"]], check=False, clock=clock)
        view.batch(1, ["a", "b"])
        return view

    def test_what_matters_has_a_line_led_by_its_host(
        self, view: PlainView, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        view.event(event("a", 1, "started"))
        view.event(event("a", 1, "ok", "as wanted"))
        view.event(event("a", 2, "changed", "content", diff="--- x\n-a\n+b\n"))
        view.event(event("a", 3, "skipped", "no such key"))
        clock.now_s += 2
        view.host(result_of("a", "ok", "changed", "skipped"))
        view.batch(2, ["c"])
        view.event(event("b", 1, "failed", "exit"))
        view.host(result_of("b", "failed"))
        assert capsys.readouterr().out.splitlines() == [
            "a: [2/3] file /2: changed: content",
            "a:   --- x",
            "a:   -a",
            "a:   +b",
            "a: [3/3] file /3: skipped: no such key",
            "a: done in 2.0 s",
            "site: batch 2 of 2: c",
            "b: [1/3] file /1: failed: exit",
            "b: failed after 2.0 s",
        ]

    def test_progress_is_thinned_out_and_silence_is_broken(
        self, view: PlainView, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        clock.now_s += 5
        view.event(event("a", 1, "progress", "10 %"))
        clock.now_s += 4
        view.event(event("a", 1, "progress", "20 %"))
        view.tell_silent()
        clock.now_s += 21
        view.tell_silent()
        clock.now_s += 5
        view.tell_silent()
        view.tell_silent()
        assert capsys.readouterr().out.splitlines() == [
            "a: [1/3] file /1: 10 %",
            "b: connecting, 30 s since its start",
            "a: [1/3] file /1: 20 %, 35 s since its start",
        ]

    def test_who_has_ended_or_waits_breaks_no_silence(
        self, view: PlainView, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        view.host(result_of("a", "ok"))
        view.host(result_of("b", "ok", unreachable=True))
        clock.now_s += 1000
        view.tell_silent()
        assert capsys.readouterr().out.splitlines() == [
            "a: done in 0.0 s",
            "b: failed after 0.0 s: SSH did not answer",
        ]

    def test_nothing_of_a_host_is_a_control_character_or_starts_a_line(
        self, view: PlainView, clock: Clock, capsys: pytest.CaptureFixture[str]
    ) -> None:
        clock.now_s += 5
        view.event(Event("a", 1, 3, HOSTILE, "progress", HOSTILE))
        view.event(event("a", 1, "changed", HOSTILE, diff=HOSTILE))
        error = Unreachable("a", HOSTILE, HOSTILE)
        view.host(HostResult("a", (), error))
        view.summary(RolloutResult({"a": HostResult("a", (), error)}))
        output = capsys.readouterr().out
        assert not {character for character in output if ord(character) < 32 and character not in "\n\t"}
        assert not set("\x9b\u202e\udcff") & set(output)
        assert all(line.startswith(("a: ", "site")) for line in output.splitlines())

    def test_the_summary(self, view: PlainView, capsys: pytest.CaptureFixture[str]) -> None:
        ended = {
            "a": result_of("a", "ok", "changed", "ok"),
            "b": result_of("b", "ok", "failed"),
            "c": result_of("c", "ok", interrupted=True),
        }
        capsys.readouterr()
        view.summary(RolloutResult(ended, ("d",), interrupted=True))
        assert capsys.readouterr().out.splitlines() == [
            "a: 2 ok, 1 changed",
            "b: failed: 1 ok, 1 failed",
            "c: interrupted: 1 ok",
            "d: not tried",
            "b: step 2 of 3, file /2, failed: why 2 (exit code 7)",
            "b:       last words",
            "b:     → mend the cause and run again: what is done already is left as it is",
            "c: the run was ended when step 2 of 3, file /2, was running",
            "site, 4 hosts: 1 changed, 1 failed, 1 interrupted, 1 not tried",
            "interrupted; run it again: it goes on where it stopped",
        ]


class TestJson:
    @pytest.fixture
    def said(self, clock: Clock, capsys: pytest.CaptureFixture[str]) -> Iterator[dict[str, Any]]:
        view = JsonView("site", [["a", "b"]], check=False, clock=clock)
        view.batch(1, ["a", "b"])
        view.event(event("a", 1, "started"))
        view.event(event("a", 1, "changed", HOSTILE, diff="-x\n+y", duration_s=0.5))
        clock.now_s += 2
        ended = {"a": result_of("a", "changed"), "b": result_of("b", "ok", "failed")}
        for result in ended.values():
            view.host(result)
        view.summary(RolloutResult(ended, ("c",)))
        return iter([json.loads(line) for line in capsys.readouterr().out.splitlines()])

    def test_one_object_a_line(self, said: Iterator[dict[str, Any]]) -> None:
        started, changed, a, b, summary = said
        assert (started["type"], started["status"], started["duration_s"]) == ("event", "started", None)
        assert started["diff"] is None
        assert (changed["detail"], changed["diff"], changed["duration_s"]) == (clean(HOSTILE), "-x\n+y", 0.5)
        assert (a["type"], a["host"], a["outcome"], a["changed"], a["error"]) == (
            "host",
            "a",
            "changed",
            1,
            None,
        )
        assert b["error"]["type"] == "StepFailed"
        assert b["error"]["what"].endswith("last words")
        assert summary == {
            "type": "summary",
            "play": "site",
            "check": False,
            "exit_code": 1,
            "interrupted": False,
            "duration_s": 2.0,
            "hosts": [{key: value for key, value in host.items() if key != "type"} for host in (a, b)],
            "not_tried": ["c"],
        }

    def test_a_step_without_a_diff_says_null(self, clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
        view = JsonView("site", [["a"]], check=False, clock=clock)
        view.batch(1, ["a"])
        view.event(event("a", 1, "changed"))
        assert json.loads(capsys.readouterr().out)["diff"] is None
