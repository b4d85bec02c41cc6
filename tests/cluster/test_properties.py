"""What must hold for every known architecture on every type: more GPUs, more layers, and what is refused."""

from dataclasses import replace

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st

from cluster.catalog import InstanceType, instance_types
from cluster.disk import disk_plan
from cluster.families import FAMILIES
from cluster.layout import Layout
from cluster.layouts import rank_bytes
from cluster.memory import (
    COMMUNICATION_BYTES,
    MemoryPlan,
    Request,
    kv_bytes_per_token_per_gpu,
    memory_plan,
    weights_bytes,
    weights_bytes_per_gpu,
)
from cluster.plan import ClusterPlan, plan
from cluster.problems import BadInput
from cluster.rules import Facts, problems
from cluster.search import Wish, candidate, search
from cluster.shape import ModelShape
from cluster.weights_size import checkpoint_bytes, parameters, stage_bytes
from tests.cluster.family_shapes import SHAPES
from tests.cluster.stacks import stack_config

GPU_TYPES = [kind for kind in instance_types().values() if kind.gpu]
MODELS = st.sampled_from(sorted(SHAPES)).map(SHAPES.__getitem__)
KINDS = st.sampled_from(GPU_TYPES)
REQUESTS = st.builds(
    Request,
    max_model_len=st.integers(256, 32_768),
    utilization=st.floats(0.5, 0.98),
    max_num_batched_tokens=st.sampled_from([2048, 8192, 16_384]),
    max_num_seqs=st.sampled_from([64, 256, 512]),
    kv_cache_dtype=st.sampled_from(["auto", "fp8"]),
    enforce_eager=st.booleans(),
)


def test_every_known_architecture_is_among_the_shapes() -> None:
    assert {shape.architecture for shape in SHAPES.values()} == set(FAMILIES)


@settings(max_examples=500, deadline=None)
@given(
    shape=MODELS,
    kind=KINDS,
    request=REQUESTS,
    few=st.builds(
        Layout, st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4]), expert_parallel=st.booleans()
    ),
    more=st.sampled_from(["tensor_parallel_size", "pipeline_parallel_size", "data_parallel_size"]),
)
def test_twice_as_many_gpus_never_hold_fewer_tokens(
    shape: ModelShape, kind: InstanceType, request: Request, few: Layout, more: str
) -> None:
    few = replace(few, expert_parallel=few.expert_parallel and shape.experts is not None)
    many = replace(few, **{more: 2 * getattr(few, more)})

    def judged(layout: Layout) -> tuple[MemoryPlan, int]:
        memory = memory_plan(shape, layout, rank_bytes(kind), request)
        return memory, memory.kv_cache_tokens * layout.data_parallel_size

    (fewer, before), (after, tokens) = judged(few), judged(many)
    assert after.weights_bytes <= fewer.weights_bytes
    # A copy as large as its GPU gains nothing from a second one, with which it must also talk.
    talk = COMMUNICATION_BYTES if few.tensor_parallel_size == 1 else 0
    if more != "data_parallel_size" or fewer.needed_bytes + talk <= fewer.usable_bytes:
        if more == "pipeline_parallel_size" and shape.sliding_window:
            # Each stage more is a batch more under way, whose tokens vLLM keeps beside a request's window.
            assert fewer.kv_bytes <= after.kv_bytes
        else:
            assert before <= tokens
            assert not after.missing_bytes or fewer.missing_bytes


@pytest.mark.parametrize("name", SHAPES)
def test_more_nodes_of_a_type_never_hold_fewer_tokens(name: str) -> None:
    shape = SHAPES[name]
    for kind in GPU_TYPES:
        held = 0.0
        for nodes in (1, 2, 4):
            wish = Wish(kind.name, nodes, max_model_len=4096, profile="throughput")
            best = search(shape, wish).best
            assert best is not None or not held, (kind.name, nodes)
            most = best.fitting.max_concurrency if best else 0
            assert most >= held, (kind.name, nodes)
            held = most


@settings(max_examples=300, deadline=None)
@given(
    shape=MODELS,
    share=st.floats(0, 1),
    tensor=st.sampled_from([1, 2, 4, 8]),
    pipeline=st.sampled_from([1, 2, 4]),
    kv_cache_dtype=st.sampled_from(["auto", "fp8"]),
)
def test_one_layer_more_never_takes_fewer_bytes(
    shape: ModelShape, share: float, tensor: int, pipeline: int, kv_cache_dtype: str
) -> None:
    layers = pipeline + int(share * (shape.layers - 1 - pipeline))

    def cut(count: int) -> ModelShape:
        kinds = shape.layer_kinds[:count]
        return replace(shape, layers=count, layer_kinds=kinds, weights_bytes=None)

    fewer, more = cut(layers), cut(layers + 1)
    assert checkpoint_bytes(fewer) < checkpoint_bytes(more)
    assert weights_bytes(fewer) < weights_bytes(more)
    assert parameters(fewer)[0] < parameters(more)[0]
    assert weights_bytes_per_gpu(fewer, Layout(tensor)) < weights_bytes_per_gpu(more, Layout(tensor))
    stages = Layout(tensor, pipeline)
    assert sum(stage_bytes(fewer, stages)) < sum(stage_bytes(more, stages))
    token = [kv_bytes_per_token_per_gpu(each, Layout(tensor), kv_cache_dtype) for each in (fewer, more)]
    assert token[0] <= token[1]


def planned(shape: ModelShape, kind: InstanceType, layout: Layout, length: int) -> ClusterPlan:
    """The plan of a stack with these settings, or BadInput."""
    disk = disk_plan(kind, weights_bytes(shape))
    config = stack_config(
        "prod",
        {
            "drydock:model": {"source": "owner/name", "maxModelLen": length},
            "drydock:nodes.instanceType": kind.name,
            "drydock:nodes.count": layout.nodes,
            "drydock:nodes.dataVolumeGib": disk.data_volume_gib,
            "drydock:layout": {
                "tensorParallelSize": layout.tensor_parallel_size,
                "pipelineParallelSize": layout.pipeline_parallel_size,
                "dataParallelSize": layout.data_parallel_size,
            },
            "drydock:serving.extraArgs": ["--enable-expert-parallel"] if layout.expert_parallel else [],
            "drydock:maxHourlyUsd": None,
        },
    )
    facts = Facts(shape, local_cloud=True)
    found = problems(config, facts)
    try:
        made = plan(config, facts)
    except BadInput as refused:
        assert refused.problems == found
        raise
    assert found == ()
    return made


def _used_up(layout: Layout, kind: InstanceType) -> Layout:
    """With the copies that use every GPU: hardly any random layout does."""
    rest = kind.ranks * layout.nodes // (layout.tensor_parallel_size * layout.pipeline_parallel_size)
    return replace(layout, data_parallel_size=max(1, rest))


@settings(max_examples=500, deadline=None)
@given(
    shape=MODELS,
    kind=st.sampled_from(list(instance_types().values())),
    layout=st.builds(
        Layout,
        st.sampled_from([1, 2, 3, 4, 8, 16]),
        st.sampled_from([1, 2, 3, 4]),
        st.sampled_from([1, 2, 8]),
        expert_parallel=st.booleans(),
        nodes=st.sampled_from([1, 2, 4]),
    ),
    length=st.sampled_from([1024, 8192, 32_768]),
    use_up=st.booleans(),
)
def test_what_is_refused_is_never_built_and_what_fits_is(
    shape: ModelShape, kind: InstanceType, layout: Layout, length: int, *, use_up: bool
) -> None:
    layout = _used_up(layout, kind) if use_up else layout
    wish = Wish(kind.name, layout.nodes, max_model_len=length, utilization=0.9)
    judged = candidate(shape, kind, layout, wish)
    event(f"fits: {judged.fits}")
    if judged.problem:
        with pytest.raises(BadInput):
            planned(shape, kind, layout, length)
    else:
        assume(not disk_plan(kind, weights_bytes(shape)).missing_bytes)
        made = planned(shape, kind, layout, length)
        assert len(made.node_names) == layout.nodes
        assert not judged.fitting.memory.missing_bytes
