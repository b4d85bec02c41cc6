"""Each rule both ways: what it lets pass and what it refuses, with numbers and a way out."""

from collections.abc import Mapping
from dataclasses import replace

import pytest

from cluster import rules
from cluster.families import FAMILIES, Family
from cluster.models import snapshot
from cluster.packing import packing_of
from cluster.problems import Problem
from cluster.rules import RULES, Facts, problems
from cluster.vllm_support import VLLM_VERSION
from tests.cluster.stacks import GONE, TINY, facts_of, stack_config

P4D = {"drydock:nodes.instanceType": "p4d.24xlarge"}
V3 = snapshot("deepseek-ai/DeepSeek-V3")


def found(stack: str, changes: Mapping[str, object], facts: Facts | None = None) -> tuple[Problem, ...]:
    config = stack_config(stack, changes)
    return problems(config, facts or facts_of(config))


@pytest.mark.parametrize("stack", ["rehearsal", "staging", "prod"])
def test_the_committed_stacks_break_no_rule(stack: str) -> None:
    assert found(stack, {}) == ()


BROKEN: dict[str, tuple[str, Mapping[str, object], str, str, str]] = {
    "known_instance_type": (
        *("rehearsal", {"drydock:nodes.instanceType": "m7i.xlarg"}),
        *("drydock:nodes.instanceType", "`m7i.xlarg`", "`m7i.xlarge`"),
    ),
    "at_least_one_node": (
        *("rehearsal", {"drydock:nodes.count": 0}),
        *("drydock:nodes.count", "is 0", "1 or more"),
    ),
    "layout_uses_every_rank": (
        *("prod", {"drydock:nodes.count": 3}),
        *("drydock:layout", "8 x 2 x 1 = 16, but 3 x p5.48xlarge (8 GPUs each) make 24", "product is 24"),
    ),
    "layout_suits_model": (
        *("rehearsal", {"drydock:layout.tensorParallelSize": 3, "drydock:nodes.count": 3}),
        *("drydock:layout.tensorParallelSize", "3 does not divide the model's 4 attention heads", "1, 2, 4"),
    ),
    "length_within_positions": (
        *("rehearsal", {"drydock:model.maxModelLen": 513}),
        *("drydock:model.maxModelLen", "513 is more than the model's 512 positions", "at most 512"),
    ),
    "model_is_there": (
        *("staging", {"drydock:model.source": "Qwen/Qwen3-8"}),
        *("drydock:model.source", "`Qwen/Qwen3-8` is not in the snapshot catalogue", "`Qwen/Qwen3-8B`"),
    ),
    "model_name_makes_a_path": (
        *("rehearsal", {"drydock:model.name": "../etc"}),
        *("drydock:model.name", "`../etc`", "letters, digits"),
    ),
    "fp8_is_not_half": (
        *("prod", {"drydock:model.dtype": "half"}),
        *("drydock:model.dtype", "half overflows with an FP8 checkpoint", "bfloat16"),
    ),
    "quantization_is_the_checkpoints": (
        *("prod", {"drydock:model.quantization": "awq"}),
        *("drydock:model.quantization", "is awq, but the checkpoint is fp8", "null"),
    ),
    "weights_fit_in_memory": (
        *("prod", {"drydock:nodes.count": 1, "drydock:layout.pipelineParallelSize": 1}),
        *("drydock:layout", "79.6 GiB on each H100 of p5.48xlarge, which has 71.3 GiB", "more memory"),
    ),
    "weights_fit_on_disk": (
        *("rehearsal", {"drydock:model.source": "meta-llama/Meta-Llama-3.1-8B", "drydock:nodes.count": 8}),
        *("drydock:nodes.dataVolumeGib", "10 GiB do not hold the weights of 15.0 GiB", "at least 17"),
    ),
    "ssh_is_not_open_to_the_world": (
        *("rehearsal", {"drydock:access.sshCidrs": ["10.0.0.0/8", "0.0.0.0/0"]}),
        *("drydock:access.sshCidrs[1]", "opens SSH to the whole internet", "/32"),
    ),
    "api_is_not_open_to_the_world": (
        *("rehearsal", {"drydock:access.apiCidrs": ["::/0"]}),
        *("drydock:access.apiCidrs[0]", "opens vLLM's API to the whole internet", "/32"),
    ),
    "vpc_range_is_sane": (
        *("rehearsal", {"drydock:network.vpcCidr": "8.8.0.0/16"}),
        *("drydock:network.vpcCidr", "not a private IPv4 range", "10.77.0.0/16"),
    ),
    "zone_is_in_region": (
        *("rehearsal", {"aws:region": "eu-west-1", "drydock:maxHourlyUsd": GONE}),
        *("drydock:network.availabilityZone", "us-east-1a is not in aws:region eu-west-1", "eu-west-1a"),
    ),
    "market_matches_reservation": (
        *("prod", {"drydock:capacity.market": "capacity-block"}),
        *("drydock:capacity.reservationId", "is missing, and market is capacity-block", "cr-…"),
    ),
    "price_is_within_limit": (
        *("prod", {"drydock:maxHourlyUsd": 100}),
        *("drydock:maxHourlyUsd", "2 x p5.48xlarge in us-east-1 (on-demand) cost 110.08 USD/h", "110.08"),
    ),
    "image_is_named": (
        *("staging", {"drydock:nodes.image": "ubuntu"}),
        *("drydock:nodes.image", "`ubuntu` is neither", "/aws/service/deeplearning/"),
    ),
    "ports_are_free": (
        *("rehearsal", {"drydock:serving.port": 29501}),
        *("drydock:serving.port", "29501 is taken by vLLM's own rendezvous", "8000"),
    ),
    "root_volume_holds_the_system": (
        *("staging", {"drydock:nodes.rootVolumeGib": 20}),
        *("drydock:nodes.rootVolumeGib", "20 GiB is too small for driver, CUDA and vLLM", "at least 100"),
    ),
    "utilization_is_a_share": (
        *("rehearsal", {"drydock:serving.gpuMemoryUtilization": 1.5}),
        *("drydock:serving.gpuMemoryUtilization", "1.5 is not a share", "0.9"),
    ),
    "extra_args_are_extra": (
        *("rehearsal", {"drydock:serving.extraArgs": ["--api-key=x"]}),
        *("drydock:serving.extraArgs[0]", "--api-key is set by Drydock itself", "Remove it"),
    ),
    "remote_code_only_where_needed": (
        *("prod", {"drydock:serving.extraArgs": ["--enable-expert-parallel", "--trust-remote-code"]}),
        *("drydock:serving.extraArgs[1]", "vLLM has DeepseekV3ForCausalLM built in", "Remove it"),
    ),
}


UNSUITABLE: dict[str, tuple[str, Mapping[str, object], str, str, str]] = {
    "tensor_parallel_within_node": (
        "prod",
        {"drydock:layout.tensorParallelSize": 16, "drydock:layout.pipelineParallelSize": 1},
        *("drydock:layout.tensorParallelSize", "16 spans nodes of 8 GPUs", "at most 8"),
    ),
    "pipeline_has_layers": (
        "rehearsal",
        {
            "drydock:layout.tensorParallelSize": 1,
            "drydock:layout.pipelineParallelSize": 3,
            "drydock:nodes.count": 3,
        },
        *("drydock:layout.pipelineParallelSize", "3 stages are more than the model's 2 layers", "at most 2"),
    ),
    "fp8_needs_hardware": (
        *("prod", P4D | {"drydock:nodes.count": 4, "drydock:layout.pipelineParallelSize": 4}),
        *("drydock:nodes.instanceType", "A100 (sm 8.0) has no FP8 arithmetic", "H100"),
    ),
}
"""More of what a layout may be refused for."""


ON_ITS_OWN = {"nodes_reach_the_internet", "vllm_serves_the_architecture"}
"""Rules that no committed stack can break in the local cloud; each has a test of its own below."""


def test_every_rule_is_registered_and_tested() -> None:
    assert [rule.__name__ for rule in RULES if rule.__name__ not in ON_ITS_OWN] == list(BROKEN)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_rule_says_where_what_and_how_to_go_on(name: str) -> None:
    stack, changes, path, what, remedy = BROKEN[name]
    config = stack_config(stack, changes)
    rule = getattr(rules, name)
    (problem,) = rule(config, facts_of(config))
    assert problem.path == path
    assert what in problem.what
    assert remedy in problem.remedy


@pytest.mark.parametrize("case", UNSUITABLE)
def test_an_unsuitable_layout_says_where_what_and_how_to_go_on(case: str) -> None:
    stack, changes, path, what, remedy = UNSUITABLE[case]
    config = stack_config(stack, changes)
    (problem,) = rules.layout_suits_model(config, facts_of(config))
    assert problem.path == path
    assert what in problem.what
    assert remedy in problem.remedy


def test_the_problems_of_all_rules_come_together() -> None:
    changes = {
        "drydock:nodes.count": 0,
        "drydock:access.sshCidrs": ["0.0.0.0/0"],
        "drydock:model.maxModelLen": 4096,
        "drydock:layout.tensorParallelSize": 3,
    }
    assert [problem.path for problem in found("rehearsal", changes)] == [
        "drydock:nodes.count",
        "drydock:layout.tensorParallelSize",
        "drydock:model.maxModelLen",
        "drydock:access.sshCidrs[0]",
    ]


def test_an_unknown_type_causes_no_second_problem() -> None:
    paths = [p.path for p in found("prod", {"drydock:nodes.instanceType": "p9.mega"})]
    assert paths == ["drydock:nodes.instanceType"]


@pytest.mark.parametrize(
    ("size", "fits"), [(1, True), (2, True), (4, True), (8, True), (16, True), (6, False)]
)
def test_kv_heads_may_be_split_or_copied(size: int, fits: bool) -> None:
    config = stack_config("rehearsal", {"drydock:layout.tensorParallelSize": size})
    facts = replace(facts_of(config), shape=replace(TINY, heads=48, kv_heads=8))
    assert (not list(rules.layout_suits_model(config, facts))) is fits


def test_a_gqa_size_that_tears_kv_heads_is_refused() -> None:
    config = stack_config("rehearsal", {"drydock:layout.tensorParallelSize": 3})
    facts = replace(facts_of(config), shape=replace(TINY, heads=12, kv_heads=4))
    (problem,) = rules.layout_suits_model(config, facts)
    assert "neither divides the model's 4 KV heads nor" in problem.what
    assert "1, 2, 4, 12" in problem.remedy


def test_only_nodes_without_gpus_may_spread_tensor_parallel() -> None:
    config = stack_config("rehearsal")
    assert not list(rules.layout_suits_model(config, facts_of(config)))


def test_a_missing_directory_is_refused() -> None:
    config = stack_config("rehearsal")
    (problem,) = rules.model_is_there(config, Facts(None, source_exists=False))
    assert "there is no directory ~/.cache/drydock/models/drydock-tiny" in problem.what
    assert "make setup" in problem.remedy


def test_documentation_ranges_pass_only_in_the_local_cloud() -> None:
    config = stack_config("staging")
    real = replace(facts_of(config), local_cloud=False)
    assert [p.path for p in problems(config, real)] == [
        "drydock:access.sshCidrs[0]",
        "drydock:access.apiCidrs[0]",
    ]
    assert problems(config, replace(real, local_cloud=True)) == ()


@pytest.mark.parametrize(
    ("public", "local", "refused"),
    [(False, False, True), (False, True, False), (True, False, False), (True, True, False)],
)
def test_nodes_without_a_public_address_have_no_internet_but_in_the_local_cloud(
    public: bool, local: bool, refused: bool
) -> None:
    config = stack_config("staging", {"drydock:network.publicAddress": public})
    found = list(rules.nodes_reach_the_internet(config, Facts(TINY, local_cloud=local)))
    assert [problem.path for problem in found] == ["drydock:network.publicAddress"] * refused


@pytest.mark.parametrize("cidr", ["10.77.1.1/16", "everyone", "2001:db8::/32"])
def test_a_range_that_is_none_is_refused(cidr: str) -> None:
    config = stack_config("rehearsal", {"drydock:access.sshCidrs": [cidr]})
    (problem,) = rules.ssh_is_not_open_to_the_world(config, facts_of(config))
    assert cidr in problem.what


@pytest.mark.parametrize("cidr", ["10.77.0.1/16", "10.0.0.0/8", "10.77.0.0/29", "fd00::/16", "x"])
def test_a_vpc_range_that_aws_would_refuse_is_refused(cidr: str) -> None:
    config = stack_config("rehearsal", {"drydock:network.vpcCidr": cidr})
    assert len(list(rules.vpc_range_is_sane(config, facts_of(config)))) == 1


@pytest.mark.parametrize(
    ("capacity", "refused"),
    [
        ({"market": "on-demand"}, False),
        ({"market": "spot"}, False),
        ({"market": "capacity-block", "reservationId": "cr-0123456789abcdef0"}, False),
        ({"market": "reservation", "reservationId": "cr-0123456789abcdef0"}, False),
        ({"market": "reservation"}, True),
        ({"market": "reservation", "reservationId": "res-1"}, True),
        ({"market": "spot", "reservationId": "cr-0123456789abcdef0"}, True),
    ],
)
def test_a_reservation_belongs_to_its_market(capacity: dict[str, str], refused: bool) -> None:
    config = stack_config("prod", {"drydock:capacity": capacity})
    assert bool(list(rules.market_matches_reservation(config, facts_of(config)))) is refused


def test_a_limit_without_a_known_price_cannot_be_kept() -> None:
    (problem,) = found("prod", {"drydock:nodes.instanceType": "p5e.48xlarge"})
    assert "no price is known for 2 x p5e.48xlarge in us-east-1" in problem.what


@pytest.mark.parametrize(
    ("kind", "market", "limit", "what"),
    [
        ("p5en.48xlarge", "on-demand", 120, "(on-demand) cost 126.59 USD/h, more than 120"),
        ("p5en.48xlarge", "reservation", 120, "(reservation) cost 126.59 USD/h, more than 120"),
        ("p5en.48xlarge", "capacity-block", 120, None),  # 83.22
        ("p5en.48xlarge", "capacity-block", 80, "(capacity-block) cost 83.22 USD/h, more than 80"),
        ("p5.48xlarge", "capacity-block", 120, "no price is known for 2 x p5.48xlarge"),
        ("p5en.48xlarge", "spot", 120, "(spot) cost up to 126.59 USD/h, more than 120"),
        ("p5.48xlarge", "spot", 120, None),  # never more than 110.08, its price on demand
    ],
)
def test_a_limit_is_held_against_the_price_of_the_stacks_own_market(
    kind: str, market: str, limit: int, what: str | None
) -> None:
    reserved = {} if market in ("on-demand", "spot") else {"reservationId": "cr-0123456789abcdef0"}
    changes: dict[str, object] = {
        "drydock:nodes.instanceType": kind,
        "drydock:capacity": {"market": market} | reserved,
        "drydock:maxHourlyUsd": limit,
    }
    found_ = found("prod", changes)
    assert [problem.path for problem in found_] == ["drydock:maxHourlyUsd"] * (what is not None)
    assert all(what and what in problem.what for problem in found_)


def test_the_remedy_of_a_limit_is_enough() -> None:
    (problem,) = found("prod", {"drydock:nodes.instanceType": "p5en.48xlarge", "drydock:maxHourlyUsd": 1})
    limit = float(problem.remedy.split("at least ")[1].split(",")[0])
    assert found("prod", {"drydock:nodes.instanceType": "p5en.48xlarge", "drydock:maxHourlyUsd": limit}) == ()


def test_the_root_volume_holds_the_system_beside_the_weights() -> None:
    model = {"drydock:model.source": "meta-llama/Meta-Llama-3.1-8B", "drydock:nodes.dataVolumeGib": 0}
    for size, refused in (
        (24, True),
        (25, False),
    ):  # 8 for the system, 16.45 GiB of weights with a tenth more
        config = stack_config("rehearsal", model | {"drydock:nodes.rootVolumeGib": size})
        problems_ = list(rules.weights_fit_on_disk(config, facts_of(config)))
        assert [problem.path for problem in problems_] == ["drydock:nodes.dataVolumeGib"] * refused
        assert all("at least 17" in problem.remedy for problem in problems_)


def test_an_instance_store_may_be_too_small() -> None:
    config = stack_config("staging", {"drydock:nodes.instanceType": "g5.xlarge"})
    (problem,) = rules.weights_fit_on_disk(config, Facts(replace(TINY, weights_bytes=300 * 10**9)))
    assert problem.path == "drydock:nodes.instanceType"
    assert "233 GiB of instance store on g5.xlarge do not hold the weights of 279.4 GiB" in problem.what


def test_weights_that_no_index_tells_are_computed_for_the_disk() -> None:
    config = stack_config("rehearsal", {"drydock:model.source": "Qwen/Qwen3-8B"})
    assert facts_of(config).shape == snapshot("Qwen/Qwen3-8B")
    (problem,) = rules.weights_fit_on_disk(config, facts_of(config))
    assert "10 GiB do not hold the weights of 15.3 GiB" in problem.what


def test_experts_are_spread_over_data_parallel_ranks_and_dense_weights_are_not() -> None:
    layout: dict[str, object] = {
        "drydock:layout.tensorParallelSize": 1,
        "drydock:layout.pipelineParallelSize": 1,
        "drydock:layout.dataParallelSize": 16,
        "drydock:serving.gpuMemoryUtilization": 0.95,
    }
    assert found("prod", layout) == ()
    dense: dict[str, object] = {
        "drydock:model.source": "meta-llama/Meta-Llama-3.1-70B",
        "drydock:serving.extraArgs": [],
    }
    (problem,) = found("prod", layout | dense)
    assert problem.path == "drydock:layout"


@pytest.mark.parametrize(
    ("checkpoint", "wanted", "fits"),
    [
        ("", "fp8", True),
        ("", "fp8_per_block", True),
        ("", "awq", False),
        ("", "gptq_marlin", False),
        ("awq", "awq", True),
        ("awq", "awq_marlin", True),
        ("awq", "moe_wna16", True),
        ("awq", "fp8", False),
        ("fp8", "fp8", True),
        ("fp8", "gptq", False),
    ],
)
def test_a_checkpoint_keeps_its_quantization(checkpoint: str, wanted: str, fits: bool) -> None:
    config = stack_config("staging", {"drydock:model.quantization": wanted})
    facts = Facts(replace(TINY, packing=packing_of({"quant_method": checkpoint} if checkpoint else None)))
    assert (not list(rules.quantization_is_the_checkpoints(config, facts))) is fits


def test_weights_quantized_while_loading_count_as_such() -> None:
    large = snapshot("Qwen/Qwen3-32B")
    for quantization, refused in ((None, True), ("fp8", False)):
        config = stack_config("staging", {"drydock:model.quantization": quantization})
        assert bool(list(rules.weights_fit_in_memory(config, Facts(large)))) is refused


def test_an_unknown_architecture_is_judged_by_the_size_of_its_files() -> None:
    config = stack_config("staging")
    for size, refused in ((10**14, True), (10**9, False)):
        shape = replace(TINY, architecture="NewForCausalLM", weights_bytes=size)
        assert bool(list(rules.weights_fit_in_memory(config, Facts(shape)))) is refused


def test_a_relative_directory_is_refused() -> None:
    config = stack_config("rehearsal", {"drydock:model.source": "./model"})
    (problem,) = rules.model_is_there(config, Facts(TINY))
    assert "./model is relative" in problem.what


def test_fp8_without_a_gpu_is_refused() -> None:
    assert V3 is not None
    config = stack_config("rehearsal")
    (problem,) = rules.layout_suits_model(config, Facts(V3))
    assert "m7i.xlarge has no GPU" in problem.what


@pytest.mark.parametrize("flag", ["--worker-use-ray", "--swap-space=4", "--disable-log-requests"])
def test_a_flag_that_vllm_dropped_is_refused_with_its_successor(flag: str) -> None:
    config = stack_config("rehearsal", {"drydock:serving.extraArgs": ["--seed=1", flag]})
    (problem,) = rules.extra_args_are_extra(config, facts_of(config))
    assert problem.path == "drydock:serving.extraArgs[1]"
    assert "is gone from vLLM" in problem.what


@pytest.mark.parametrize("flag", ["--api_key=x", "--tensor_parallel_size=2", "--swap_space=4"])
def test_an_underscore_hides_no_flag(flag: str) -> None:
    config = stack_config("rehearsal", {"drydock:serving.extraArgs": [flag]})
    assert len(list(rules.extra_args_are_extra(config, facts_of(config)))) == 1


def test_an_architecture_newer_than_the_pinned_vllm_is_refused_with_a_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(FAMILIES, "NextForCausalLM", Family(since="9.1.0"))
    config = stack_config("staging")
    facts = Facts(replace(TINY, architecture="NextForCausalLM"))
    (problem,) = rules.vllm_serves_the_architecture(config, facts)
    assert problem.path == "drydock:model.source"
    assert f"serves NextForCausalLM from 9.1.0 on, and nodes get {VLLM_VERSION}" in problem.what
    assert "an older model" in problem.remedy


@pytest.mark.parametrize("word", ["--trust-remote-code", "--trust_remote_code", "--trust-remote-code=true"])
@pytest.mark.parametrize(
    ("own_code", "refused"), [(False, "names no Python of its own (auto_map)"), (True, None)]
)
def test_remote_code_runs_only_for_a_model_that_brings_its_own(
    word: str, own_code: bool, refused: str | None
) -> None:
    config = stack_config("staging", {"drydock:serving.extraArgs": [word]})
    facts = Facts(replace(TINY, architecture="NewForCausalLM", own_code=own_code))
    found = list(rules.remote_code_only_where_needed(config, facts))
    assert [problem.path for problem in found] == ["drydock:serving.extraArgs[0]"] * (refused is not None)
    assert all(refused and refused in problem.what for problem in found)


def test_a_port_for_root_is_refused() -> None:
    assert [p.path for p in found("rehearsal", {"drydock:serving.port": 443})] == ["drydock:serving.port"]
