"""The architectures that the planner knows: what each adds to the plain transformer.

An architecture that is not here is refused by name wherever its bytes would have to be guessed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Family:
    """What an architecture has that its config.json does not tell."""

    vllm_since: str
    """The first vLLM release that serves it."""
    qkv_bias: bool | None = None
    """None = config.json's attention_bias."""
    qk_norm: bool = False
    norms: int = 2
    """Norms of the hidden size in each layer."""
    sinks: bool = False
    expert_bias: bool = False
    output_gate: bool = False
    windows: Literal["none", "all", "alternate", "five-of-six"] = "none"
    """Which layers slide where config.json has no layer_types."""
    linear_interval: int = 0
    tied: bool = False
    defaults: Mapping[str, int] = field(default_factory=dict)
    """What config.json may leave out."""
    vision: Literal["", "siglip", "qwen"] = ""


GEMMA3_DEFAULTS = {
    "num_attention_heads": 8,
    "num_key_value_heads": 4,
    "head_dim": 256,
    "vocab_size": 262_208,
    "max_position_embeddings": 131_072,
    "sliding_window": 4096,
}
GEMMA2_DEFAULTS = {"head_dim": 256, "sliding_window": 4096, "max_position_embeddings": 8192}
DEEPSEEK = Family(vllm_since="0.6.6")
GEMMA3 = Family(
    vllm_since="0.8.0", qk_norm=True, norms=4, windows="five-of-six", tied=True, defaults=GEMMA3_DEFAULTS
)

FAMILIES: Mapping[str, Family] = {
    "LlamaForCausalLM": Family(vllm_since="0.1.0"),
    "MistralForCausalLM": Family(vllm_since="0.1.0", windows="all"),
    "MixtralForCausalLM": Family(vllm_since="0.2.5", windows="all"),
    "Qwen2ForCausalLM": Family(vllm_since="0.3.0", qkv_bias=True),
    "Qwen2MoeForCausalLM": Family(vllm_since="0.4.0", qkv_bias=True),
    "Qwen3ForCausalLM": Family(vllm_since="0.8.4", qk_norm=True),
    "Qwen3MoeForCausalLM": Family(vllm_since="0.8.4", qk_norm=True),
    "Qwen3NextForCausalLM": Family(vllm_since="0.10.2", qk_norm=True, output_gate=True, linear_interval=4),
    "Qwen3_5ForConditionalGeneration": Family(
        vllm_since="0.17.0", qk_norm=True, output_gate=True, linear_interval=4, vision="qwen"
    ),
    "Qwen3_5MoeForConditionalGeneration": Family(
        vllm_since="0.17.0", qk_norm=True, output_gate=True, linear_interval=4, vision="qwen"
    ),
    "DeepseekV2ForCausalLM": Family(vllm_since="0.5.1"),
    "DeepseekV3ForCausalLM": DEEPSEEK,
    "DeepseekV32ForCausalLM": Family(vllm_since="0.11.0"),
    "Gemma2ForCausalLM": Family(
        vllm_since="0.5.1", norms=4, windows="alternate", tied=True, defaults=GEMMA2_DEFAULTS
    ),
    "Gemma3ForCausalLM": GEMMA3,
    "Gemma3ForConditionalGeneration": Family(
        vllm_since="0.8.0",
        qk_norm=True,
        norms=4,
        windows="five-of-six",
        tied=True,
        defaults=GEMMA3_DEFAULTS,
        vision="siglip",
    ),
    "GptOssForCausalLM": Family(vllm_since="0.10.1", sinks=True, expert_bias=True, qkv_bias=True),
}
