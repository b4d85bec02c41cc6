"""What systemd and the journal say, read rightly; and when vLLM must start anew."""

import pytest

from bootstrap.serving import must_start
from bootstrap.units import UnitState, blocked_text, headline, parse_state


def shown(**changes: str) -> str:
    values = {
        "ActiveState": "active",
        "SubState": "running",
        "Result": "success",
        "ExecMainStatus": "0",
        "NRestarts": "0",
        "InvocationID": "4f0c",
    }
    return "".join(f"{name}={value}\n" for name, value in (values | changes).items())


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({}, ""),
        ({"ActiveState": "activating", "SubState": "start-pre"}, ""),
        (
            {"ActiveState": "failed", "SubState": "failed", "Result": "exit-code", "ExecMainStatus": "1"},
            "failed (exit-code, exit status 1)",
        ),
        (
            {
                "ActiveState": "activating",
                "SubState": "auto-restart",
                "Result": "signal",
                "ExecMainStatus": "9",
            },
            "ended by itself and was restarted (signal, exit status 9)",
        ),
        ({"NRestarts": "1"}, "ended by itself and was restarted (success, exit status 0)"),
        ({"ActiveState": "inactive", "SubState": "dead"}, "inactive"),
    ],
)
def test_a_fault_is_what_waiting_does_not_mend(changes: dict[str, str], fault: str) -> None:
    assert parse_state(shown(**changes)).fault == fault


def test_a_node_without_the_unit_has_a_fault() -> None:
    assert parse_state("ActiveState=inactive\nNRestarts=\n").fault == "inactive"


UP: UnitState = parse_state(shown())
DOWN: UnitState = parse_state(shown(ActiveState="failed"))


@pytest.mark.parametrize(
    ("second", "digests", "must"),
    [
        (UP, ("new", "new"), False),
        (UP, ("new", "old"), True),  # killed between writing and restarting, or another setting
        (UP, ("old", "old"), True),
        (DOWN, ("new", "new"), True),
        (DOWN, ("new", ""), True),
    ],
)
def test_vllm_starts_anew_unless_all_of_it_runs_as_wanted(
    second: UnitState, digests: tuple[str, str], must: bool
) -> None:
    found = {"node-0": UP, "node-1": second}
    assert must_start(found, dict(zip(found, digests, strict=True)), "new") is must


def test_the_headline_is_the_last_that_vllm_said() -> None:
    journal = (
        "Started vllm-head.service.\n"
        "(APIServer pid=321) INFO 11-25 01:55:31 [vllm.py:725] Loading weights took 0.07 seconds\n"
        "W1125 01:55:44.796000 452 torch/utils/flop_counter.py:29] triton not found\n"
    )
    assert headline(journal) == "Loading weights took 0.07 seconds"
    assert headline("Started vllm-head.service.\n") == "the engine is starting"


def test_blocked_ways_name_both_ends_and_the_port() -> None:
    addresses = {"node-0": "10.77.1.4", "node-1": "10.77.1.5"}
    assert blocked_text([("node-1", "node-0", 29501)], addresses) == [
        "node-1 (10.77.1.5) cannot reach node-0 (10.77.1.4):29501"
    ]
