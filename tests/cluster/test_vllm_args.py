"""The arguments of `vllm serve` on the head and on the workers."""

import pytest

from cluster.catalog import instance_types
from cluster.vllm_args import OWN_FLAGS, REMOVED_FLAGS, environment, head_args, worker_args
from tests.cluster.stacks import stack_config


def test_the_rehearsals_head() -> None:
    assert head_args(stack_config("rehearsal"), "/models/drydock-tiny") == (
        "/models/drydock-tiny",
        *("--served-model-name", "drydock-tiny", "--port", "8000", "--tensor-parallel-size", "2"),
        *("--nnodes", "2", "--node-rank", "{NODE_RANK}"),
        *("--master-addr", "{MASTER_ADDR}", "--master-port", "29501"),
        *("--dtype", "bfloat16", "--max-model-len", "512"),
        *("--gpu-memory-utilization", "0.1", "--max-num-seqs", "8", "--enforce-eager"),
    )


@pytest.mark.parametrize("stack", ["rehearsal", "prod"])
def test_a_worker_is_a_head_without_an_api(stack: str) -> None:
    config = stack_config(stack)
    assert worker_args(config, "/m") == (*head_args(config, "/m"), "--headless")


def test_a_single_node_has_no_peers() -> None:
    config = stack_config("staging")
    assert worker_args(config, "/m") == ()
    assert not {"--nnodes", "--node-rank", "--master-addr"} & set(head_args(config, "/m"))


def test_optional_settings_become_flags_only_when_set() -> None:
    changes = {
        "drydock:model.quantization": "fp8",
        "drydock:model.kvCacheDtype": "fp8",
        "drydock:layout.dataParallelSize": 2,
        "drydock:serving.extraArgs": ["--seed", "7"],
    }
    plain, rich = (" ".join(head_args(stack_config("staging", c), "/m")) for c in ({}, changes))
    for flag in ("--quantization fp8", "--kv-cache-dtype fp8", "--data-parallel-size 2", "--seed 7"):
        assert flag in rich
        assert flag not in plain


@pytest.mark.parametrize("stack", ["rehearsal", "staging", "prod"])
def test_no_dropped_flag_and_no_secret(stack: str) -> None:
    flags = {argument for argument in head_args(stack_config(stack), "/m") if argument.startswith("--")}
    assert not flags & set(REMOVED_FLAGS)
    assert "--api-key" not in flags
    assert flags - {"--enable-expert-parallel", "--enforce-eager"} <= OWN_FLAGS


def test_nccl_is_only_for_gpus_and_its_efa_plugin_only_for_efa() -> None:
    cpu = environment(instance_types()["m7i.xlarge"], efa=False)
    gpu = environment(instance_types()["p5.48xlarge"], efa=False)
    efa = environment(instance_types()["p5.48xlarge"], efa=True)
    assert set(gpu) - set(cpu) == {"NCCL_SOCKET_IFNAME", "NCCL_DEBUG"}
    assert set(efa) - set(gpu) == {"LD_LIBRARY_PATH"}
    assert cpu["VLLM_HOST_IP"] == "{NODE_ADDRESS}"
    assert cpu["GLOO_SOCKET_IFNAME"] == "{PRIMARY_INTERFACE}"
