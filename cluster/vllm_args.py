"""The arguments and the environment of `vllm serve`, on the head and on the workers."""

from dataclasses import dataclass

from cluster.catalog import InstanceType
from cluster.config import StackConfig
from cluster.layout import Layout
from cluster.profiles import Argument, tuning

MASTER_PORT = 29501
"""torch.distributed's rendezvous on the head; inside the cluster's security group only."""

EFA_LIBRARIES = "/opt/amazon/efa/lib:/opt/amazon/ofi-nccl/lib:/opt/amazon/ofi-nccl/lib/x86_64-linux-gnu"
"""Where libfabric and aws-ofi-nccl lie in AWS's images; unseen by NCCL it falls silently to TCP."""

EXPERT_PARALLEL = "--enable-expert-parallel"

OWN_FLAGS = frozenset(
    {
        *("--model", "--served-model-name", "--port", "--api-key"),
        *("--tensor-parallel-size", "-tp", "--pipeline-parallel-size", "-pp", "--data-parallel-size", "-dp"),
        *("--nnodes", "-n", "--node-rank", "-r", "--master-addr", "--master-port", "--headless"),
        *("--dtype", "--quantization", "-q", "--kv-cache-dtype", "--max-model-len"),
        *("--gpu-memory-utilization", "--max-num-seqs"),
    }
)
"""Flags that Drydock sets from its settings or keeps from the process list; never in extraArgs."""

REMOVED_FLAGS = {
    "--worker-use-ray": "use --nnodes (Drydock sets it); it was rejected from vLLM 0.7 on",
    "--engine-use-ray": "leave it out; the engine has no such mode any more",
    "--swap-space": "leave it out; vLLM 0.18 removed it",
    "--disable-log-requests": "leave it out; requests are logged only with --enable-log-requests",
}
"""Flags of older vLLM versions that the pinned one refuses or ignores, with what to do instead."""


def flag_of(argument: str) -> str:
    """The flag of an argument as vLLM's parser reads it, which takes `--api_key=x` for `--api-key`."""
    flag = argument.split("=", 1)[0]
    return flag.replace("_", "-") if flag.startswith("--") else flag


@dataclass(frozen=True)
class Serve:
    """What one `vllm serve` is told; ``None`` and "auto" leave the choice to vLLM."""

    model_dir: str
    name: str
    layout: Layout
    port: int = 8000
    dtype: str = "auto"
    quantization: str | None = None
    kv_cache_dtype: str = "auto"
    max_model_len: int | None = None
    utilization: float = 0.9
    utilization_reason: str = "the share of each GPU's memory that vLLM takes"
    tuning: tuple[Argument, ...] = ()
    extra: tuple[str, ...] = ()


def arguments(serve: Serve) -> tuple[Argument, ...]:
    """Everything after `vllm serve MODEL` on the head, in order, each with its reason."""
    layout = serve.layout
    found = [
        Argument("--served-model-name", serve.name, "the name that clients ask for"),
        Argument("--port", str(serve.port), "the API's port"),
        Argument(
            "--tensor-parallel-size",
            str(layout.tensor_parallel_size),
            "GPUs that share each layer, inside of one node where they are linked best",
        ),
    ]
    if layout.pipeline_parallel_size > 1:
        reason = "stages of layers; only their borders cross the network"
        found.append(Argument("--pipeline-parallel-size", str(layout.pipeline_parallel_size), reason))
    if layout.data_parallel_size > 1:
        reason = "copies of attention, each with requests and a KV cache of its own"
        found.append(Argument("--data-parallel-size", str(layout.data_parallel_size), reason))
    if layout.nodes > 1:
        # vLLM infers each node's data parallel ranks from its node rank.
        found += [
            Argument("--nnodes", str(layout.nodes), "nodes of this replica; vLLM's own way, without Ray"),
            Argument("--node-rank", "{NODE_RANK}", "which of them this is; 0 is the head"),
            Argument("--master-addr", "{MASTER_ADDR}", "the head's private address, where ranks meet"),
            Argument("--master-port", str(MASTER_PORT), "the port of that meeting"),
        ]
    reason = (
        "the checkpoint's own type; half overflows with FP8 scales" if serve.dtype == "auto" else "as set"
    )
    found.append(Argument("--dtype", serve.dtype, reason))
    if serve.quantization:
        found.append(Argument("--quantization", serve.quantization, "as set"))
    if serve.kv_cache_dtype != "auto":
        reason = (
            "half the bytes of each token, so twice as many" if "fp8" in serve.kv_cache_dtype else "as set"
        )
        found.append(Argument("--kv-cache-dtype", serve.kv_cache_dtype, reason))
    if serve.max_model_len:
        reason = "the longest prompt plus answer; one such request must fit into the KV cache"
        found.append(Argument("--max-model-len", str(serve.max_model_len), reason))
    found.append(Argument("--gpu-memory-utilization", f"{serve.utilization:g}", serve.utilization_reason))
    found += serve.tuning
    if layout.expert_parallel and EXPERT_PARALLEL not in serve.extra:
        reason = "whole experts on each GPU instead of a slice of every one"
        found.append(Argument(EXPERT_PARALLEL, "", reason))
    return (*found, *(Argument(word, "", "from extraArgs") for word in serve.extra))


def words(serve: Serve) -> tuple[str, ...]:
    """Everything after `vllm serve` on the head."""
    return (serve.model_dir, *(word for argument in arguments(serve) for word in argument.words))


def layout_of(config: StackConfig) -> Layout:
    """The layout that a stack's settings ask for."""
    sizes = config.layout
    return Layout(
        sizes.tensor_parallel_size,
        sizes.pipeline_parallel_size,
        sizes.data_parallel_size,
        expert_parallel=EXPERT_PARALLEL in config.serving.extra_args,
        nodes=max(1, config.nodes.count),
    )


def head_args(config: StackConfig, model_dir: str) -> tuple[str, ...]:
    """Everything after `vllm serve` on the head; {MASTER_ADDR} and {NODE_RANK} are filled in on the node."""
    model, serving = config.model, config.serving
    tuned: tuple[Argument, ...] = ()
    if serving.profile:
        tuned = tuning(serving.profile).arguments()
    if serving.max_num_seqs:
        own = Argument("--max-num-seqs", str(serving.max_num_seqs), "as set")
        tuned = (*(argument for argument in tuned if argument.flag != own.flag), own)
    return words(
        Serve(
            model_dir=model_dir,
            name=model.served_name,
            layout=layout_of(config),
            port=serving.port,
            dtype=model.dtype,
            quantization=model.quantization,
            kv_cache_dtype=model.kv_cache_dtype,
            max_model_len=model.max_model_len,
            utilization=serving.gpu_memory_utilization,
            tuning=tuned,
            extra=serving.extra_args,
        )
    )


def worker_args(config: StackConfig, model_dir: str) -> tuple[str, ...]:
    """Everything after `vllm serve` on every other node; empty on a single node."""
    return (*head_args(config, model_dir), "--headless") if config.nodes.count > 1 else ()


def environment(instance_type: InstanceType, *, efa: bool) -> dict[str, str]:
    """vLLM's environment; {PRIMARY_INTERFACE} and {NODE_ADDRESS} are filled in on the node."""
    common = {
        "VLLM_HOST_IP": "{NODE_ADDRESS}",  # an address: a name may resolve to another interface
        "GLOO_SOCKET_IFNAME": "{PRIMARY_INTERFACE}",
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
    }
    if instance_type.accelerator == "cpu":
        # Compiling costs a rehearsal half a minute at each start, and a tiny model gains nothing from it.
        return common | {"TORCHDYNAMO_DISABLE": "1"}
    nccl = {"NCCL_SOCKET_IFNAME": "{PRIMARY_INTERFACE}", "NCCL_DEBUG": "INFO"}
    return common | nccl | ({"LD_LIBRARY_PATH": EFA_LIBRARIES} if efa else {})
