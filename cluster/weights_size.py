"""The bytes of a model's tensors under its quantization, of the checkpoint and of each GPU."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from cluster.families import FAMILIES
from cluster.layout import Layout
from cluster.problems import BadInput, Problem
from cluster.shape import LayerKind, ModelShape, Quantization
from cluster.tensors import Tensor, embedding_tensors, family_of, head_tensors, layer_tensors, mtp_tensors

VOCABULARY_PADDING = 64
"""vLLM pads the vocabulary to a multiple of it before it splits it."""
MXFP4_PADDING = 64
"""Each part of an mxfp4 expert's intermediate size is padded to it (vLLM 0.32.0, its Triton kernels)."""


def can_count(shape: ModelShape) -> bool:
    """Whether architecture and quantization are known, so that bytes need not be guessed."""
    return shape.architecture in FAMILIES and (not shape.packing.method or shape.packing.bits > 0)


def require_known(shape: ModelShape) -> None:
    """BadInput names an architecture or quantization whose bytes would be a guess."""
    family_of(shape)
    if not can_count(shape):
        raise BadInput(
            [
                Problem(
                    "config.json: quantization_config",
                    f"Drydock does not know how `{shape.quantization}` packs these weights",
                    "Take one in FP8, AWQ, GPTQ, MXFP4, compressed-tensors (4 or 8 bits) or bfloat16.",
                )
            ]
        )


def tensor_bytes(tensor: Tensor, shape: ModelShape, plain: frozenset[str] = frozenset()) -> int:
    """The bytes of a tensor with its scales; ``plain`` names linear layers left as they are."""
    if not tensor.linear or not shape.packing.method or tensor.name in plain:
        return tensor.parameters * (tensor.bytes_each or shape.dtype_bytes)
    return tensor.copies * packed_bytes(tensor.rows, tensor.columns, shape.packing)


def packed_bytes(rows: int, columns: int, packing: Quantization) -> int:
    """The bytes of a quantized matrix: its weights, scales, zero points and what else lies beside them."""
    return rows * columns * packing.bits // 8 + _beside_bytes(rows, columns, packing)


def _beside_bytes(rows: int, columns: int, packing: Quantization) -> int:
    """The bytes of scales, zero points and the like."""
    groups = rows * -(-columns // (packing.group_size or columns))
    zeros = 0
    if packing.zero_points:
        zeros = 2 * groups if packing.wide_zeros else groups * packing.bits // 8
    inputs = 4 * packing.static_input
    match packing.method:
        case "mxfp4":
            return groups  # one byte of exponent each
        case "awq" | "gptq":
            order = 4 * columns if packing.method == "gptq" else 0
            return 2 * groups + zeros + order
        case "compressed-tensors" if packing.bits == 4:
            return 2 * groups + zeros + 16  # the shape before packing
    if packing.block:
        high, wide = packing.block
        return 4 * -(-rows // high) * -(-columns // wide) + inputs
    scales = {"compressed-tensors": 2}.get(packing.method, 4)
    return (scales * rows if packing.per_channel else scales) + inputs


@cache
def checkpoint_bytes(shape: ModelShape) -> int:
    """The bytes of every tensor of the checkpoint, the multi-token-prediction layers included."""
    return main_bytes(shape) + mtp_bytes(shape)


@cache
def main_bytes(shape: ModelShape) -> int:
    """The bytes of what vLLM loads without speculative decoding."""
    around = _bytes((*embedding_tensors(shape), *head_tensors(shape)), shape)
    kinds = Counter(shape.layer_kinds)
    return around + sum(
        count * _bytes(_stored(shape, kind), shape, kind.plain) for kind, count in kinds.items()
    )


@cache
def mtp_bytes(shape: ModelShape) -> int:
    """The bytes of the multi-token-prediction layers."""
    stored = [tensor for tensor in mtp_tensors(shape) if not tensor.made]
    return _bytes(stored, shape, shape.layer_kinds[-1].plain)


@cache
def parameters(shape: ModelShape) -> tuple[int, int]:
    """All numbers of the model, and those that one token uses; without multi-token prediction."""
    everything = [*embedding_tensors(shape), *head_tensors(shape)]
    for kind in shape.layer_kinds:
        everything += _stored(shape, kind)
    total = sum(tensor.parameters for tensor in everything)
    experts = shape.experts
    idle = 0
    if experts:
        spread = sum(tensor.parameters for tensor in everything if tensor.is_expert)
        idle = spread * (experts.count - experts.active) // experts.count
    return total, total - idle


def stages(layers: int, size: int) -> tuple[range, ...]:
    """The layers of each pipeline stage, as vLLM deals them out: the rest goes before the last stage."""
    counts = [layers // size] * size
    for index in range(2, layers % size + 2):
        counts[-index] += 1
    starts = [sum(counts[:index]) for index in range(size)]
    return tuple(range(start, start + count) for start, count in zip(starts, counts, strict=True))


@cache
def stage_bytes(shape: ModelShape, layout: Layout) -> tuple[int, ...]:
    """The bytes of weights on each GPU of each pipeline stage."""
    if shape.quantization == "awq":
        shape = replace(shape, packing=replace(shape.packing, wide_zeros=True))
    found = []
    parts = stages(shape.layers, layout.pipeline_parallel_size)
    for index, part in enumerate(parts):
        kinds = Counter(shape.layer_kinds[part.start : part.stop])
        total = sum(count * _layer_bytes(shape, kind, layout) for kind, count in kinds.items())
        first, last = index == 0, index == len(parts) - 1
        words = embedding_tensors(shape)
        if first:
            total += _bytes((_local(tensor, shape, layout) for tensor in words), shape)
        if last:
            # A tied head needs the words on the last stage too.
            tensors = head_tensors(shape) + (words[:1] if shape.tied_embeddings and not first else ())
            total += _bytes((_local(tensor, shape, layout) for tensor in tensors), shape)
        found.append(total)
    return tuple(found)


@cache
def _layer_bytes(shape: ModelShape, kind: LayerKind, layout: Layout) -> int:
    local = (_local(tensor, shape, layout) for tensor in layer_tensors(shape, kind))
    return _bytes(local, shape, kind.plain)


def _local(tensor: Tensor, shape: ModelShape, layout: Layout) -> Tensor:
    """What one GPU holds of a tensor."""
    size = layout.tensor_parallel_size
    if tensor.is_expert:
        # Experts are spread over data parallel ranks too: whole ones, or a slice of each.
        size *= layout.data_parallel_size
        if layout.expert_parallel:
            return replace(tensor, copies=-(-tensor.copies // size))
    padding = MXFP4_PADDING if tensor.is_expert and shape.packing.method == "mxfp4" else 1
    match tensor.split:
        case "rows":
            return replace(tensor, rows=_part(tensor.rows, size, padding))
        case "columns":
            return replace(tensor, columns=_part(tensor.columns, size, padding))
        case "kv":
            return replace(tensor, rows=-(-tensor.rows // min(size, shape.kv_heads)))
        case "vocab":
            padded = _part(tensor.rows, 1, VOCABULARY_PADDING)
            return replace(tensor, rows=_part(padded, size))
        case _:
            return tensor


def _part(count: int, size: int, multiple: int = 1) -> int:
    """One of ``size`` parts of ``count``, rounded up to a multiple."""
    return -(-count // (size * multiple)) * multiple


def _stored(shape: ModelShape, kind: LayerKind) -> tuple[Tensor, ...]:
    return tuple(tensor for tensor in layer_tensors(shape, kind) if not tensor.made)


def _bytes(tensors: Iterable[Tensor], shape: ModelShape, plain: frozenset[str] = frozenset()) -> int:
    return sum(tensor_bytes(tensor, shape, plain) for tensor in tensors)
