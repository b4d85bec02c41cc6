"""Phases, their shares and the memory in use."""

import json
from pathlib import Path

import pytest

from rehearsal.timeline import Phase, Timeline, memory_in_use_bytes


def test_memory_in_use_is_total_less_available() -> None:
    meminfo = "MemTotal:       24684084 kB\nMemFree:  1 kB\nMemAvailable:   24000000 kB\n"
    assert memory_in_use_bytes(meminfo) == 684084 * 1024


def test_a_phase_that_fails_is_recorded_too() -> None:
    timeline = Timeline()
    with pytest.raises(ValueError, match="torn"), timeline.phase("up"):
        raise ValueError("torn")
    assert [phase.name for phase in timeline.phases] == ["up"]


def test_set_up_that_ran_before_stands_first_and_shifts_the_rest() -> None:
    timeline = Timeline()
    timeline.add_before("set-up", 100.0)
    with timeline.phase("up"):
        pass
    first, second = timeline.phases
    assert first == Phase("set-up", 0.0, 100.0)
    assert second.start_s >= 100.0


def test_table_gives_each_phase_its_share_and_the_file_the_same_numbers(tmp_path: Path) -> None:
    timeline = Timeline()
    timeline.phases.extend([Phase("boot", 0.0, 15.0), Phase("serve", 15.0, 45.0)])
    timeline.peak_memory_bytes = 3 * 2**30
    assert "25.0%" in timeline.table()
    assert "75.0%" in timeline.table()
    assert "3.00 GiB" in timeline.table()
    timeline.write(tmp_path / "deep" / "timeline.json")
    written = json.loads((tmp_path / "deep" / "timeline.json").read_text())
    assert written["total_s"] == 60.0
    assert written["phases"][1] == {"name": "serve", "start_s": 15.0, "duration_s": 45.0}
