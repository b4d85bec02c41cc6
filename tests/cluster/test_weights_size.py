"""Bytes computed from real config.json files, against the totals that the models' own indexes tell."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.layout import Layout
from cluster.memory import Request, memory_plan, weights_bytes_per_gpu
from cluster.models import shape_from_config, snapshot, snapshot_ids
from cluster.packing import packing_of
from cluster.problems import BadInput
from cluster.shape import ModelShape, Quantization
from cluster.weights_size import (
    checkpoint_bytes,
    mtp_bytes,
    packed_bytes,
    parameters,
    require_known,
    stages,
)
from tests.cluster.configs import UNKNOWN

GIB = 1024**3
TOTALS = {
    "deepseek-ai/DeepSeek-V3": 688_574_839_360,
    "meta-llama/Meta-Llama-3.1-70B": 141_107_412_992,
    "meta-llama/Meta-Llama-3.1-8B": 16_060_522_496,
    "Qwen/Qwen3-235B-A22B": 470_187_269_120,
}


def shape_of(model_id: str) -> ModelShape:
    shape = snapshot(model_id)
    assert shape is not None
    return shape


@pytest.mark.parametrize("model_id", TOTALS)
def test_the_computed_total_is_the_index_own(model_id: str) -> None:
    assert checkpoint_bytes(shape_of(model_id)) == TOTALS[model_id]


@pytest.mark.parametrize("model_id", snapshot_ids())
def test_every_snapshot_can_be_counted(model_id: str) -> None:
    shape = shape_of(model_id)
    require_known(shape)
    total, active = parameters(shape)
    assert 0 < active <= total
    told = shape.weights_bytes
    assert told is None or abs(checkpoint_bytes(shape) - told) <= told * 0.005


def test_the_model_of_the_article_has_671_billion_parameters_and_mtp_besides() -> None:
    shape = shape_of("deepseek-ai/DeepSeek-V3")
    total, active = parameters(shape)
    assert (round(total / 1e9), round(active / 1e9)) == (671, 38)
    assert round(mtp_bytes(shape) / 1e9, 2) == 15.42


@pytest.mark.parametrize(
    ("packing", "expected"),
    [
        (Quantization("fp8", 8, block=(128, 128)), 256 * 1000 + 4 * 2 * 8),
        (Quantization("fp8", 8), 256 * 1000 + 4),
        (Quantization("awq", 4, group_size=100, zero_points=True), 128_000 + 10 * 256 * 2 + 10 * 256 // 2),
        (Quantization("gptq", 4, group_size=0, zero_points=True), 128_000 + 256 * 2 + 128 + 4000),
        (Quantization("mxfp4", 4, group_size=32), 128_000 + 256 * 32),
        (Quantization("compressed-tensors", 8, per_channel=True), 256_000 + 512),
        (Quantization("compressed-tensors", 4, group_size=100), 128_000 + 10 * 256 * 2 + 16),
    ],
)
def test_a_packed_matrix_has_its_scales(packing: Quantization, expected: int) -> None:
    assert packed_bytes(256, 1000, packing) == expected


def test_layers_that_the_checkpoint_leaves_alone_stay_plain() -> None:
    gpt = shape_of("openai/gpt-oss-20b")
    kind = gpt.layer_kinds[0]
    assert "self_attn.q_proj" in kind.plain
    assert "mlp.experts.up_proj" not in kind.plain


def test_an_architecture_that_is_not_known_is_refused_by_name() -> None:
    with pytest.raises(BadInput, match="does not know how NewForCausalLM takes memory, and does not guess"):
        require_known(shape_from_config(UNKNOWN))


def test_a_quantization_that_is_not_known_is_refused_by_name() -> None:
    shape = replace(shape_of("Qwen/Qwen3-8B"), packing=packing_of({"quant_method": "bitsandbytes"}))
    with pytest.raises(BadInput, match="`bitsandbytes`"):
        require_known(shape)


@pytest.mark.parametrize(
    ("layers", "size", "expected"), [(61, 2, [31, 30]), (94, 4, [23, 24, 24, 23]), (8, 4, [2, 2, 2, 2])]
)
def test_layers_are_dealt_to_stages_as_vllm_does(layers: int, size: int, expected: list[int]) -> None:
    parts = stages(layers, size)
    assert [len(part) for part in parts] == expected
    assert [index for part in parts for index in part] == list(range(layers))


@given(layers=st.integers(1, 80), size=st.sampled_from([1, 2, 4, 8]))
def test_bytes_grow_with_the_layers(layers: int, size: int) -> None:
    shape = shape_of("meta-llama/Meta-Llama-3.1-70B")

    def cut(count: int) -> ModelShape:
        return replace(shape, layers=count, layer_kinds=shape.layer_kinds[:1] * count)

    fewer, more = cut(layers), cut(layers + 1)
    assert checkpoint_bytes(fewer) < checkpoint_bytes(more)
    layout = Layout(size)
    assert weights_bytes_per_gpu(fewer, layout) < weights_bytes_per_gpu(more, layout)


@given(
    model_id=st.sampled_from(sorted(snapshot_ids())),
    step=st.sampled_from([(1, 2), (2, 4), (4, 8)]),
    pipeline=st.sampled_from([1, 2, 4]),
    expert_parallel=st.booleans(),
)
def test_more_gpus_never_hold_fewer_tokens(
    model_id: str, step: tuple[int, int], pipeline: int, expert_parallel: bool
) -> None:
    shape = shape_of(model_id)
    request = Request(max_model_len=4096)
    fewer, more = (
        memory_plan(shape, Layout(size, pipeline, expert_parallel=expert_parallel), 139 * GIB, request)
        for size in step
    )
    assert fewer.weights_bytes >= more.weights_bytes
    if step[0] > 1:  # from one GPU to two the buffers of their talk come on top
        assert fewer.kv_cache_tokens <= more.kv_cache_tokens


@pytest.mark.parametrize(("size", "part"), [(1, 2880), (2, 1472), (4, 768), (8, 384)])
def test_an_mxfp4_experts_part_is_padded(size: int, part: int) -> None:
    """gpt-oss has 2880 columns an expert; vLLM's kernels take multiples of 64."""
    shape = shape_of("openai/gpt-oss-120b")
    split = weights_bytes_per_gpu(shape, Layout(tensor_parallel_size=size))
    whole = weights_bytes_per_gpu(shape, Layout(tensor_parallel_size=size, expert_parallel=True))
    # Three matrices of 2880 by the part for each of 36 x 128 experts, half a byte and a 32nd of scale a
    # number, and gate's and up's bias; with expert parallelism the same of whole experts, fewer of them.
    experts = 36 * 128

    def bytes_of(columns: int, count: int) -> int:
        return count * (3 * 2880 * columns * 17 // 32 + 2 * 2 * columns)

    down_bias = 2 * 2880 * (experts - experts // size)
    assert split - whole == bytes_of(part, experts) - bytes_of(2880, experts // size) + down_bias
