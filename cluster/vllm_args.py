"""The arguments and the environment of `vllm serve`, on the head and on the workers."""

from cluster.catalog import InstanceType
from cluster.config import StackConfig

MASTER_PORT = 29501
"""torch.distributed's rendezvous on the head; inside the cluster's security group only."""

EFA_LIBRARIES = "/opt/amazon/efa/lib:/opt/amazon/ofi-nccl/lib:/opt/amazon/ofi-nccl/lib/x86_64-linux-gnu"
"""Where libfabric and aws-ofi-nccl lie in AWS's images; unseen by NCCL it falls silently to TCP."""

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


def head_args(config: StackConfig, model_dir: str) -> tuple[str, ...]:
    """Everything after `vllm serve` on the head; {MASTER_ADDR} and {NODE_RANK} are filled in on the node."""
    model, layout, serving = config.model, config.layout, config.serving
    args = [model_dir, "--served-model-name", model.served_name, "--port", str(serving.port)]
    args += ["--tensor-parallel-size", str(layout.tensor_parallel_size)]
    if layout.pipeline_parallel_size > 1:
        args += ["--pipeline-parallel-size", str(layout.pipeline_parallel_size)]
    if layout.data_parallel_size > 1:
        args += ["--data-parallel-size", str(layout.data_parallel_size)]
    if config.nodes.count > 1:
        # vLLM infers each node's data parallel ranks from its node rank.
        args += ["--nnodes", str(config.nodes.count), "--node-rank", "{NODE_RANK}"]
        args += ["--master-addr", "{MASTER_ADDR}", "--master-port", str(MASTER_PORT)]
    args += ["--dtype", model.dtype]
    if model.quantization:
        args += ["--quantization", model.quantization]
    if model.kv_cache_dtype != "auto":
        args += ["--kv-cache-dtype", model.kv_cache_dtype]
    if model.max_model_len:
        args += ["--max-model-len", str(model.max_model_len)]
    args += ["--gpu-memory-utilization", f"{serving.gpu_memory_utilization:g}"]
    if serving.max_num_seqs:
        args += ["--max-num-seqs", str(serving.max_num_seqs)]
    return (*args, *serving.extra_args)


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
