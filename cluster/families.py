"""The architectures that the planner knows: what each adds to the plain transformer.

An architecture that is not here is refused by name wherever its bytes would have to be guessed. All are built
into the pinned vLLM, so none needs --trust-remote-code, which would run the repository's own Python.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Family:
    """What an architecture has that its config.json does not tell."""

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
GEMMA3 = Family(qk_norm=True, norms=4, windows="five-of-six", tied=True, defaults=GEMMA3_DEFAULTS)

FAMILIES: Mapping[str, Family] = {
    "LlamaForCausalLM": Family(),
    "MistralForCausalLM": Family(windows="all"),
    "MixtralForCausalLM": Family(windows="all"),
    "Qwen2ForCausalLM": Family(qkv_bias=True),
    "Qwen2MoeForCausalLM": Family(qkv_bias=True),
    "Qwen3ForCausalLM": Family(qk_norm=True),
    "Qwen3MoeForCausalLM": Family(qk_norm=True),
    "Qwen3NextForCausalLM": Family(qk_norm=True, output_gate=True, linear_interval=4),
    "Qwen3_5ForConditionalGeneration": Family(
        qk_norm=True, output_gate=True, linear_interval=4, vision="qwen"
    ),
    "Qwen3_5MoeForConditionalGeneration": Family(
        qk_norm=True, output_gate=True, linear_interval=4, vision="qwen"
    ),
    "DeepseekV2ForCausalLM": Family(),
    "DeepseekV3ForCausalLM": Family(),
    "DeepseekV32ForCausalLM": Family(),
    "Gemma2ForCausalLM": Family(norms=4, windows="alternate", tied=True, defaults=GEMMA2_DEFAULTS),
    "Gemma3ForCausalLM": GEMMA3,
    "Gemma3ForConditionalGeneration": Family(
        qk_norm=True,
        norms=4,
        windows="five-of-six",
        tied=True,
        defaults=GEMMA3_DEFAULTS,
        vision="siglip",
    ),
    "GptOssForCausalLM": Family(sinks=True, expert_bias=True, qkv_bias=True),
}
