"""The architectures that the planner knows: what each adds to the plain transformer.

An architecture that is not here is refused by name wherever its bytes would have to be guessed. All are built
into the pinned vLLM, so none needs --trust-remote-code, which would run the repository's own Python.

``since`` was read in the packages that vLLM published to PyPI (2026-11-25): the wheel of that release has the
architecture in its registry of models, the wheel of the release before it has not. 0.1.4 is the oldest wheel.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True)
class Family:
    """What an architecture has that its config.json does not tell."""

    since: str
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
GEMMA3 = Family("0.8.0", qk_norm=True, norms=4, windows="five-of-six", tied=True, defaults=GEMMA3_DEFAULTS)

FAMILIES: Mapping[str, Family] = {
    "LlamaForCausalLM": Family("0.1.4"),
    "MistralForCausalLM": Family("0.2.0", windows="all"),
    "MixtralForCausalLM": Family("0.2.4", windows="all"),
    "Qwen2ForCausalLM": Family("0.3.0", qkv_bias=True),
    "Qwen2MoeForCausalLM": Family("0.4.0", qkv_bias=True),
    "Qwen3ForCausalLM": Family("0.8.4", qk_norm=True),
    "Qwen3MoeForCausalLM": Family("0.8.4", qk_norm=True),
    "Qwen3NextForCausalLM": Family("0.10.2", qk_norm=True, output_gate=True, linear_interval=4),
    "Qwen3_5ForConditionalGeneration": Family(
        "0.17.0", qk_norm=True, output_gate=True, linear_interval=4, vision="qwen"
    ),
    "Qwen3_5MoeForConditionalGeneration": Family(
        "0.17.0", qk_norm=True, output_gate=True, linear_interval=4, vision="qwen"
    ),
    "DeepseekV2ForCausalLM": Family("0.5.1"),
    "DeepseekV3ForCausalLM": Family("0.6.6"),
    "DeepseekV32ForCausalLM": Family("0.11.0"),
    "Gemma2ForCausalLM": Family("0.5.1", norms=4, windows="alternate", tied=True, defaults=GEMMA2_DEFAULTS),
    "Gemma3ForCausalLM": GEMMA3,
    "Gemma3ForConditionalGeneration": Family(
        "0.8.0",
        qk_norm=True,
        norms=4,
        windows="five-of-six",
        tied=True,
        defaults=GEMMA3_DEFAULTS,
        vision="siglip",
    ),
    "GptOssForCausalLM": Family("0.10.1", sinks=True, expert_bias=True, qkv_bias=True),
}
