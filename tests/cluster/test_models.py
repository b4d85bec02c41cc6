"""Shapes come out of real config.json files."""

import pytest

from cluster.models import shape_from_config, snapshot, snapshot_ids
from cluster.problems import BadInput


@pytest.mark.parametrize(
    ("model_id", "hidden_layers_heads_kv_vocab_positions", "quantization"),
    [
        ("deepseek-ai/DeepSeek-V3", (7168, 61, 128, 128, 129280, 163840), "fp8"),
        ("meta-llama/Meta-Llama-3.1-70B", (8192, 80, 64, 8, 128256, 131072), ""),
        ("meta-llama/Meta-Llama-3.1-8B", (4096, 32, 32, 8, 128256, 131072), ""),
        ("Qwen/Qwen3-235B-A22B", (4096, 94, 64, 4, 151936, 40960), ""),
        ("openai/gpt-oss-120b", (2880, 36, 64, 8, 201088, 131072), "mxfp4"),
    ],
)
def test_a_snapshot_reads_as_published(
    model_id: str, hidden_layers_heads_kv_vocab_positions: tuple[int, ...], quantization: str
) -> None:
    shape = snapshot(model_id)
    assert shape is not None
    heads = (shape.heads, shape.kv_heads)
    numbers = (shape.hidden_size, shape.layers, *heads, shape.vocab_size, shape.max_positions)
    assert numbers == hidden_layers_heads_kv_vocab_positions
    assert shape.quantization == quantization


@pytest.mark.parametrize("model_id", snapshot_ids())
def test_every_snapshot_has_a_shape(model_id: str) -> None:
    shape = snapshot(model_id)
    assert shape is not None
    assert shape.heads % shape.kv_heads == 0


def test_a_multimodal_model_keeps_its_numbers_one_level_down() -> None:
    shape = snapshot("Qwen/Qwen3.5-27B")
    assert shape is not None
    assert (shape.architecture, shape.hidden_size) == ("Qwen3_5ForConditionalGeneration", 5120)


def test_an_unknown_id_has_no_snapshot() -> None:
    assert snapshot("nobody/nothing") is None


def test_every_broken_field_is_named() -> None:
    config = {"hidden_size": -1, "num_hidden_layers": "2", "num_attention_heads": True, "vocab_size": 1.5}
    with pytest.raises(BadInput) as refused:
        shape_from_config(config, path="/m/config.json")
    assert [problem.path for problem in refused.value.problems] == [
        "/m/config.json: num_attention_heads",
        "/m/config.json: hidden_size",
        "/m/config.json: num_hidden_layers",
        "/m/config.json: vocab_size",
        "/m/config.json: max_position_embeddings",
        "/m/config.json: architectures",
    ]


def test_without_kv_heads_every_head_is_one() -> None:
    config = {
        "architectures": ["OPT"],
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 4,
        "vocab_size": 10,
        "max_position_embeddings": 32,
    }
    assert shape_from_config(config).kv_heads == 4
