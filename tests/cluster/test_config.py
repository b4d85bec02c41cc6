"""Settings are typed, and everything that is wrong with them is said at once."""

import pytest

from cluster.config import examine, parse
from cluster.problems import BadInput, Problem
from tests.cluster.stacks import GONE, raw_stack, stack_config


def problems_of(changes: dict[str, object]) -> dict[str, Problem]:
    with pytest.raises(BadInput) as refused:
        parse(raw_stack("rehearsal", changes))
    return {problem.path: problem for problem in refused.value.problems}


def test_the_rehearsal_reads_as_written() -> None:
    config = stack_config("rehearsal")
    assert config.region == "us-east-1"
    assert (config.nodes.count, config.layout.tensor_parallel_size) == (2, 2)
    assert config.model.is_local
    assert config.model.served_name == "drydock-tiny"
    assert config.serving.readiness.answer == "The ship rests in the drydock."


def test_a_hub_id_is_served_under_its_own_name() -> None:
    config = stack_config("staging")
    assert not config.model.is_local
    assert config.model.served_name == "Qwen/Qwen3-8B"


def test_a_directory_is_served_under_its_last_name() -> None:
    config = stack_config(
        "rehearsal", {"drydock:model.name": GONE, "drydock:model.source": "/data/my-model/"}
    )
    assert config.model.served_name == "my-model"


def test_what_the_engine_hands_out_as_text_reads_the_same() -> None:
    raw = raw_stack("rehearsal") | {
        "drydock:maxHourlyUsd": "5.5",
        "drydock:nodes": '{"instanceType": "m7i.xlarge", "count": 2, "image": "/drydock/rehearsal/ami-id"}',
    }
    config = parse(raw)
    assert config.max_hourly_usd == 5.5
    assert config.nodes.count == 2


def test_keys_of_other_packages_are_none_of_our_business() -> None:
    assert parse(raw_stack("rehearsal") | {"aws:profile": "work", "other:key": "1"})


def test_settings_cannot_be_changed_afterwards() -> None:
    with pytest.raises(ValueError, match="frozen"):
        stack_config("rehearsal").nodes.count = 3


def test_every_problem_is_told_at_once() -> None:
    problems = problems_of(
        {
            "drydock:nodes.count": "two",
            "drydock:nodes.instancType": "m7i.large",
            "drydock:access.sshCidrs": [],
            "drydock:model.source": GONE,
            "drydock:capacity": {"market": "free"},
            "drydock:laiout": {},
        }
    )
    assert set(problems) == {
        "drydock:nodes.count",
        "drydock:nodes.instancType",
        "drydock:access.sshCidrs",
        "drydock:model.source",
        "drydock:capacity.market",
        "drydock:laiout",
    }


@pytest.mark.parametrize(
    ("path", "value", "what", "remedy"),
    [
        ("drydock:nodes.count", "two", "'two'", "the number of nodes, e.g. 2"),
        ("drydock:nodes.count", True, "True", "the number of nodes"),
        ("drydock:nodes.count", 2.5, "2.5", "the number of nodes"),
        ("drydock:nodes.count", GONE, "is missing", "the number of nodes"),
        ("drydock:nodes.instancType", "x", "is not a setting", "Did you mean `instanceType`?"),
        ("drydock:nodes.zzz", 1, "is not a setting", "known here: count, dataVolumeGib"),
        ("drydock:model.kvCacheDtype", "int3", "'int3'", "the type of the KV cache"),
        ("drydock:serving.readiness.promt", "x", "is not a setting", "Did you mean `prompt`?"),
        ("drydock:serving.port", 70000, "70000", "the API's port"),
        ("drydock:serving.extraArgs", "--x", "'--x'", "more arguments"),
        ("drydock:layout.tensorParallelSize", 0, "0", "tensor parallel size"),
        ("drydock:maxHourlyUsd", -1, "-1", "the most USD per hour"),
        ("drydock:nodes", 7, "7", "the machines"),
        ("aws:region", GONE, "is missing", "the AWS region, e.g. us-east-1"),
    ],
)
def test_a_problem_names_the_place_the_fault_and_the_way_out(
    path: str, value: object, what: str, remedy: str
) -> None:
    problem = problems_of({path: value})[path]
    assert what in problem.what
    assert remedy in problem.remedy


def test_a_list_element_is_named_by_its_index() -> None:
    assert "drydock:access.apiCidrs[1]" in problems_of({"drydock:access.apiCidrs": ["10.0.0.0/8", 7]})


def test_unknown_keys_alone_leave_settings_for_the_rules() -> None:
    config, problems = examine(raw_stack("rehearsal", {"drydock:nodes.colour": "red", "drydock:bar": 1}))
    assert config == stack_config("rehearsal")
    assert [problem.path for problem in problems] == ["drydock:nodes.colour", "drydock:bar"]


def test_a_wrong_value_leaves_no_settings() -> None:
    config, problems = examine(raw_stack("rehearsal", {"drydock:nodes.count": "two"}))
    assert config is None
    assert len(problems) == 1
