"""The model shapes and layouts on which the planner is held against vLLM.

On the CPU: tiny models of each attention kind, made here. On a GPU: full-size configs from a folder of real
config.json files (`ORG--NAME.json`), some changed here (quantized, cut in layers, another attention kind).
"""

import json
from pathlib import Path
from typing import Any

Json = dict[str, Any]

TINY: Json = {
    "hidden_size": 512, "intermediate_size": 1024, "num_hidden_layers": 6, "num_attention_heads": 8,
    "num_key_value_heads": 4, "head_dim": 64, "vocab_size": 512, "max_position_embeddings": 4096,
    "rms_norm_eps": 1e-6, "hidden_act": "silu", "tie_word_embeddings": False, "dtype": "bfloat16",
    "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 2,
}  # fmt: skip

LLAMA: Json = {**TINY, "architectures": ["LlamaForCausalLM"], "model_type": "llama"}

TINY_MLA: Json = {
    **TINY, "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "num_key_value_heads": 8,
    "kv_lora_rank": 512, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128,
    "q_lora_rank": 256, "head_dim": 64, "n_routed_experts": 8, "num_experts_per_tok": 2,
    "n_shared_experts": 1, "n_group": 1, "topk_group": 1, "moe_intermediate_size": 256,
    "first_k_dense_replace": 1, "moe_layer_freq": 1, "norm_topk_prob": True, "scoring_func": "sigmoid",
    "topk_method": "noaux_tc", "routed_scaling_factor": 2.5, "num_nextn_predict_layers": 0,
    "rope_theta": 10000, "attention_bias": False,
}  # fmt: skip

GEMMA: Json = {
    "architectures": ["Gemma3ForCausalLM"], "model_type": "gemma3_text", "attention_bias": False,
    "attn_logit_softcapping": None, "final_logit_softcapping": None, "hidden_activation": "gelu_pytorch_tanh",
    "rms_norm_eps": 1e-6, "rope_local_base_freq": 10000.0, "rope_theta": 1000000.0,
    "tie_word_embeddings": True, "dtype": "bfloat16", "bos_token_id": 2, "eos_token_id": 1, "pad_token_id": 0,
}  # fmt: skip


def gemma_layers(count: int) -> list[str]:
    """Gemma 3's pattern: every sixth layer sees everything, the others a window."""
    return ["full_attention" if layer % 6 == 5 else "sliding_attention" for layer in range(count)]


TINY_HYBRID: Json = {
    **TINY, **GEMMA, "num_hidden_layers": 12, "layer_types": gemma_layers(12), "sliding_window": 256,
    "sliding_window_pattern": 6, "query_pre_attn_scalar": 64,
}  # fmt: skip

CPU_CONFIGS: dict[str, Json] = {
    "tiny-gqa": LLAMA,
    "tiny-mha": {**LLAMA, "num_key_value_heads": 8},
    "tiny-mqa": {**LLAMA, "num_key_value_heads": 1},
    "tiny-mla": TINY_MLA,
    "tiny-window": {
        **TINY, "architectures": ["MistralForCausalLM"], "model_type": "mistral", "sliding_window": 512,
    },
    "tiny-hybrid": TINY_HYBRID,
    "tiny-moe": {
        **TINY, "architectures": ["Qwen3MoeForCausalLM"], "model_type": "qwen3_moe", "num_experts": 8,
        "num_experts_per_tok": 2, "moe_intermediate_size": 256, "decoder_sparse_step": 1,
        "mlp_only_layers": [], "norm_topk_prob": True, "attention_bias": False,
    },
}  # fmt: skip

CPU_ARGUMENTS: Json = {
    "max_model_len": 4096, "max_num_batched_tokens": 2048, "max_num_seqs": 64, "enforce_eager": True,
    "gpu_memory_utilization": 0.15, "dtype": "bfloat16",
}  # fmt: skip


def cpu_cases() -> Json:
    """Every attention kind on one worker, and where heads must be split or copied also on two."""
    single = [{"name": name, "config": name, "args": CPU_ARGUMENTS} for name in CPU_CONFIGS]
    double = [
        {"name": f"{name}-tp2", "config": name, "args": {**CPU_ARGUMENTS, "tensor_parallel_size": 2}}
        for name in ("tiny-gqa", "tiny-mqa", "tiny-mla")
    ]
    return {"configs": CPU_CONFIGS, "cases": [{**case, "stop": "kv"} for case in single + double]}


def gpu_configs(folder: Path) -> dict[str, Json]:
    """Full-size shapes: those of the folder as they are, and the changed ones."""
    real = {
        file.stem.split("--")[1]: json.loads(file.read_text()) for file in sorted(folder.glob("*--*.json"))
    }
    v3 = {key: value for key, value in real["DeepSeek-V3"].items() if key != "auto_map"}
    int4 = {"bits": 4, "group_size": 128}
    awq = {
        **int4,
        "quant_method": "awq",
        "version": "gemm",
        "zero_point": True,
        "modules_to_not_convert": None,
    }
    plain_v3 = {key: value for key, value in v3.items() if key != "quantization_config"}
    gemma = {
        **GEMMA, "hidden_size": 3840, "intermediate_size": 15360, "num_hidden_layers": 48,
        "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 256, "vocab_size": 262208,
        "max_position_embeddings": 131072, "query_pre_attn_scalar": 256, "sliding_window": 1024,
        "sliding_window_pattern": 6, "layer_types": gemma_layers(48),
    }  # fmt: skip
    gptq = {
        **int4, "quant_method": "gptq", "desc_act": False, "sym": True,
        # vLLM learns the quantized layers from the tensors' types; here there are no tensors.
        "modules_in_block_to_quantize": ["self_attn", "mlp"],
    }  # fmt: skip
    made = {
        "Qwen3-32B-AWQ": {**real["Qwen3-32B"], "quantization_config": awq},
        "Qwen3-32B-GPTQ": {**real["Qwen3-32B"], "quantization_config": gptq},
        "Llama-3.1-70B-AWQ": {**real["Meta-Llama-3.1-70B"], "quantization_config": awq},
        "Llama-3.1-405B-16-layers": {**real["Meta-Llama-3.1-405B"], "num_hidden_layers": 16},
        "Qwen3-235B-A22B-FP8-24-layers": {**real["Qwen3-235B-A22B-FP8"], "num_hidden_layers": 24},
        "DeepSeek-V3.2-6-layers": {**real["DeepSeek-V3.2"], "num_hidden_layers": 6},
        "DeepSeek-V3-6-layers": {**v3, "num_hidden_layers": 6},
        "DeepSeek-V3-bf16-5-layers": {**plain_v3, "num_hidden_layers": 5},
        "Mixtral-8x7B-16-layers": {**real["Mixtral-8x7B-v0.1"], "num_hidden_layers": 16},
        "Gemma-3-12B-text": gemma,
    }
    return {**{name: config for name, config in real.items() if "DeepSeek" not in name}, **made}


def gpu_case(name: str, config: str, **arguments: Any) -> Json:
    """A case at vLLM's server defaults on a big GPU unless `arguments` say otherwise."""
    stop = arguments.pop("stop", None)
    defaults = {
        "max_model_len": 32768, "max_num_batched_tokens": 8192, "max_num_seqs": 256,
        "gpu_memory_utilization": 0.92,
    }  # fmt: skip
    case = {"name": name, "config": config, "args": {**defaults, **arguments}}
    return case if stop is None else {**case, "stop": stop}


LLAMA_8B, QWEN_MOE, V3_CUT = "Meta-Llama-3.1-8B", "Qwen3-30B-A3B", "DeepSeek-V3-6-layers"

KV, SMALL = {"stop": "kv"}, {"stop": "kv", "max_num_batched_tokens": 2048, "max_num_seqs": 64}
EAGER, PAIR = {"stop": "kv", "enforce_eager": True}, {"stop": "kv", "tensor_parallel_size": 2}

H100_CASES: list[Json] = [
    gpu_case("llama-8b", LLAMA_8B),
    gpu_case("llama-8b-2k", LLAMA_8B, **SMALL),
    gpu_case("llama-8b-32k", LLAMA_8B, **KV, max_num_batched_tokens=32768),
    gpu_case("llama-8b-eager", LLAMA_8B, **EAGER),
    gpu_case("llama-8b-kv-fp8", LLAMA_8B, **KV, kv_cache_dtype="fp8"),
    gpu_case("llama-8b-fp8", LLAMA_8B, **KV, quantization="fp8"),
    gpu_case(
        "llama-8b-fp8-16k", LLAMA_8B, **KV, quantization="fp8", kv_cache_dtype="fp8",
        max_num_batched_tokens=16384, gpu_memory_utilization=0.95,
    ),
    gpu_case("qwen-32b", "Qwen3-32B", **KV, max_model_len=8192),
    gpu_case("qwen-32b-fp8", "Qwen3-32B-FP8", **KV),
    gpu_case("qwen-32b-awq", "Qwen3-32B-AWQ", **KV),
    gpu_case("moe-30b", QWEN_MOE),
    gpu_case("moe-30b-2k", QWEN_MOE, **SMALL),
    gpu_case("moe-30b-eager", QWEN_MOE, **EAGER),
    gpu_case("mixtral-cut", "Mixtral-8x7B-16-layers", **EAGER),
    gpu_case("gpt-oss-20b", "gpt-oss-20b", **KV),
    gpu_case("gemma-12b", "Gemma-3-12B-text"),
    gpu_case("gemma-12b-2k", "Gemma-3-12B-text", **SMALL),
    gpu_case("v3-cut", V3_CUT),
    gpu_case("v3-cut-2k", V3_CUT, **SMALL, enforce_eager=True),
    gpu_case("v3-cut-kv-fp8", V3_CUT, **EAGER, kv_cache_dtype="fp8"),
    gpu_case("v3-cut-bf16", "DeepSeek-V3-bf16-5-layers", **EAGER),
    gpu_case("llama-8b-tp2", LLAMA_8B, **PAIR),
    gpu_case("llama-8b-pp2", LLAMA_8B, **KV, pipeline_parallel_size=2),
    gpu_case("moe-30b-tp2-ep", QWEN_MOE, **PAIR, enforce_eager=True, enable_expert_parallel=True),
    gpu_case("v3-cut-tp2", V3_CUT, **PAIR, enforce_eager=True),
]  # fmt: skip

TEXT: Json = {"limit_mm_per_prompt": {"image": 0, "video": 0}}

H200_CASES: list[Json] = [
    gpu_case("qwen-32b-gptq", "Qwen3-32B-GPTQ", **EAGER),
    gpu_case("gpt-oss-120b", "gpt-oss-120b", **EAGER),
    gpu_case("gpt-oss-20b", "gpt-oss-20b", **EAGER),
    gpu_case("llama-70b-awq", "Llama-3.1-70B-AWQ", **EAGER),
    gpu_case("llama-8b", LLAMA_8B, **KV),
    gpu_case("moe-30b", QWEN_MOE, **KV),
    gpu_case("v3-cut-kv-fp8", V3_CUT, **EAGER, kv_cache_dtype="fp8"),
    gpu_case("qwen-32b-awq", "Qwen3-32B-AWQ", **KV),
    gpu_case("llama-8b-fp8-kv-fp8", LLAMA_8B, **KV, quantization="fp8", kv_cache_dtype="fp8"),
    gpu_case("moe-235b-fp8-cut", "Qwen3-235B-A22B-FP8-24-layers", **EAGER, max_model_len=8192),
    gpu_case("llama-405b-cut", "Llama-3.1-405B-16-layers", **EAGER, max_num_batched_tokens=16384),
    gpu_case("qwen-0.6b", "Qwen3-0.6B", **KV, max_num_batched_tokens=16384, max_num_seqs=512),
    gpu_case("qwen-moe-linear", "Qwen3.5-35B-A3B", **EAGER, **TEXT),
    gpu_case("v3.2-cut", "DeepSeek-V3.2-6-layers", **EAGER),
    gpu_case("qwen-linear", "Qwen3.5-27B", **KV, **TEXT),
    gpu_case("v3-cut", V3_CUT, **KV),
]  # fmt: skip
"""On one H200: the main shapes on another GPU, and shapes on which no constant was measured."""


def gpu_cases(cases: list[Json], folder: Path) -> Json:
    """The cases of a GPU machine, with the configs they need."""
    configs, used = gpu_configs(folder), {case["config"] for case in cases}
    return {"configs": {name: config for name, config in configs.items() if name in used}, "cases": cases}
