"""One shape of every architecture that is known: the catalogue's, and small ones of what it lacks."""

from collections.abc import Mapping

from cluster.models import shape_from_config, snapshot, snapshot_ids
from cluster.shape import ModelShape

PLAIN: Mapping[str, object] = {
    "hidden_size": 4096,
    "intermediate_size": 14_336,
    "num_hidden_layers": 24,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "vocab_size": 152_064,
    "max_position_embeddings": 32_768,
}
EXPERTS = {"num_experts": 64, "num_experts_per_tok": 8, "moe_intermediate_size": 1408}
LATENT = {
    "kv_lora_rank": 512,
    "q_lora_rank": 1536,
    "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64,
    "v_head_dim": 128,
}
LINEAR = {
    "linear_num_key_heads": 16,
    "linear_key_head_dim": 128,
    "linear_num_value_heads": 32,
    "linear_value_head_dim": 128,
    "linear_conv_kernel_dim": 4,
    "full_attention_interval": 4,
}
PICTURE = {
    "hidden_size": 1152,
    "num_hidden_layers": 27,
    "intermediate_size": 4304,
    "patch_size": 14,
    "image_size": 896,
}
LACKING: Mapping[str, Mapping[str, object]] = {
    "MistralForCausalLM": {"sliding_window": 4096},
    "Qwen2ForCausalLM": {},
    "Qwen2MoeForCausalLM": EXPERTS | {"shared_expert_intermediate_size": 5632},
    "Qwen3NextForCausalLM": EXPERTS | LINEAR | {"shared_expert_intermediate_size": 512},
    "DeepseekV2ForCausalLM": LATENT | {"n_routed_experts": 64, "n_shared_experts": 2} | EXPERTS,
    "Gemma2ForCausalLM": {"sliding_window": 4096},
    "Gemma3ForCausalLM": {"sliding_window": 1024},
    "Gemma3ForConditionalGeneration": {"sliding_window": 1024, "vision_config": PICTURE},
}


def _all() -> dict[str, ModelShape]:
    found = {}
    for model_id in snapshot_ids():
        shape = snapshot(model_id)
        assert shape is not None
        found[model_id] = shape
    for architecture, more in LACKING.items():
        found[architecture] = shape_from_config({**PLAIN, **more, "architectures": [architecture]})
    return found


SHAPES = _all()
"""By model id, or by architecture where the catalogue has none."""
