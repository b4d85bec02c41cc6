"""What must hold before anything is created: one rule a function, each yields the problems it finds."""

import math
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, ip_network
from itertools import chain

from cluster import catalog
from cluster.catalog import InstanceType
from cluster.config import StackConfig
from cluster.cost import bounded_cost
from cluster.disk import instance_store_bytes, least_root_volume_gib, needed_bytes, weights_place
from cluster.layouts import CHECKS, Fitting, memory_suffices
from cluster.memory import GIB, Request, weights_bytes, with_quantization
from cluster.models import snapshot_ids
from cluster.problems import Problem
from cluster.profiles import tuning
from cluster.shape import ModelShape
from cluster.vllm_args import MASTER_PORT, OWN_FLAGS, REMOVED_FLAGS, flag_of, layout_of
from cluster.vllm_support import remote_code_problem, serving_problem
from cluster.weights_size import can_count


@dataclass(frozen=True)
class Facts:
    """What was seen outside of the settings before planning."""

    shape: ModelShape | None
    """The model's shape, or None where its config.json was not found or is broken."""
    source_exists: bool = True
    """Whether the model's directory is there, or its id is in the snapshot catalogue."""
    local_cloud: bool = False
    """Whether AWS is the rehearsal's local cloud, where everything comes from this machine."""

    @property
    def weights_bytes(self) -> int:
        """The bytes of the checkpoint, as told or as computed; 0 where neither is possible."""
        shape = self.shape
        if shape is None:
            return 0
        return weights_bytes(shape) if can_count(shape) else shape.weights_bytes or 0


Rule = Callable[[StackConfig, Facts], Iterator[Problem]]


def problems(config: StackConfig, facts: Facts) -> tuple[Problem, ...]:
    """Every problem that any rule finds."""
    return tuple(chain.from_iterable(rule(config, facts) for rule in RULES))


def known_instance_type(config: StackConfig, _facts: Facts) -> Iterator[Problem]:
    name = config.nodes.instance_type
    if catalog.find(name) is None:
        near = catalog.closest(name)
        known = f"Did you mean `{near}`?" if near else f"Known: {', '.join(catalog.instance_types())}."
        yield Problem("drydock:nodes.instanceType", f"Drydock knows no type `{name}`", known)


def at_least_one_node(config: StackConfig, _facts: Facts) -> Iterator[Problem]:
    if config.nodes.count < 1:
        yield Problem("drydock:nodes.count", f"is {config.nodes.count}", "Set it to 1 or more.")


def layout_uses_every_rank(config: StackConfig, _facts: Facts) -> Iterator[Problem]:
    kind = _type(config)
    if kind is None or config.nodes.count < 1:
        return
    layout, there = config.layout, kind.ranks * config.nodes.count
    if layout.ranks != there:
        sizes = (layout.tensor_parallel_size, layout.pipeline_parallel_size, layout.data_parallel_size)
        unit = f"{kind.ranks} GPUs each" if kind.gpu else "one rank each"
        yield Problem(
            "drydock:layout",
            f"TP x PP x DP = {' x '.join(map(str, sizes))} = {layout.ranks}, "
            f"but {config.nodes.count} x {kind.name} ({unit}) make {there}",
            f"Choose sizes whose product is {there}, or another drydock:nodes.count or instanceType.",
        )


def layout_suits_model(config: StackConfig, facts: Facts) -> Iterator[Problem]:
    """What the planner's search holds every layout to, all of it at once."""
    kind, shape = _type(config), facts.shape
    if kind is None or shape is None:
        return
    if config.model.quantization:
        shape = with_quantization(shape, config.model.quantization)
    fitting = Fitting(shape, kind, layout_of(config), _request(config, shape, kind))
    for check in CHECKS:
        if check is not memory_suffices:
            yield from check(fitting)


def weights_fit_in_memory(config: StackConfig, facts: Facts) -> Iterator[Problem]:
    kind, shape = _type(config), facts.shape
    if kind is None or shape is None or config.layout.pipeline_parallel_size > shape.layers:
        return
    shape = with_quantization(shape, config.model.quantization)
    fitting = Fitting(shape, kind, layout_of(config), _request(config, shape, kind))
    if can_count(shape):
        yield from memory_suffices(fitting)
    elif shape.weights_bytes and shape.weights_bytes / fitting.layout.ranks > fitting.usable_bytes:
        gib = shape.weights_bytes / GIB
        what = f"{gib:.1f} GiB of weights do not fit, spread over {fitting.layout.ranks} ranks at best"
        yield Problem("drydock:layout", what, "Take more nodes, or an instance type with more memory.")


def length_within_positions(config: StackConfig, facts: Facts) -> Iterator[Problem]:
    length = config.model.max_model_len
    if facts.shape and length and length > facts.shape.max_positions:
        most = facts.shape.max_positions
        what = f"{length} is more than the model's {most} positions"
        yield Problem("drydock:model.maxModelLen", what, f"Set it to at most {most}.")


def model_is_there(config: StackConfig, facts: Facts) -> Iterator[Problem]:
    source = config.model.source
    if source.startswith("."):
        yield Problem("drydock:model.source", f"{source} is relative", "Write it from / or ~ on.")
    elif facts.source_exists:
        return
    elif config.model.is_local:
        remedy = "Set it to a directory that holds the model; `make setup` makes the rehearsal's."
        yield Problem("drydock:model.source", f"there is no directory {source}", remedy)
    else:
        near = catalog.closest(source, snapshot_ids())
        hint = f"Did you mean `{near}`? Else download" if near else "Download"
        yield Problem(
            "drydock:model.source",
            f"`{source}` is not in the snapshot catalogue, so its layout cannot be checked",
            f"{hint} it (`hf download {source} --local-dir DIR`) and set this to the directory.",
        )


def model_name_makes_a_path(config: StackConfig, _facts: Facts) -> Iterator[Problem]:
    name = config.model.served_name
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._/-]*", name) or ".." in name:
        remedy = "Use letters, digits, `.`, `_`, `-` and `/`; it becomes a directory's name on the nodes."
        yield Problem("drydock:model.name", f"`{name}` cannot be a directory's name", remedy)


def fp8_is_not_half(config: StackConfig, facts: Facts) -> Iterator[Problem]:
    if config.model.dtype in ("half", "float16") and _is_fp8(config, facts):
        what = f"{config.model.dtype} overflows with an FP8 checkpoint, whose scales are made for bfloat16"
        yield Problem("drydock:model.dtype", what, "Set it to auto or bfloat16.")


def quantization_is_the_checkpoints(config: StackConfig, facts: Facts) -> Iterator[Problem]:
    wanted, shape = config.model.quantization, facts.shape
    if wanted is None or shape is None:
        return
    family = wanted.removeprefix("auto_").removesuffix("_marlin")
    kept = family in (shape.quantization, "moe_wna16") if shape.quantization else family not in MADE_FOR
    if not kept:
        what = f"is {wanted}, but the checkpoint is {shape.quantization or 'not quantized'}"
        remedy = "Set it to null, or drydock:model.source to such a checkpoint."
        yield Problem("drydock:model.quantization", what, remedy)


def weights_fit_on_disk(config: StackConfig, facts: Facts) -> Iterator[Problem]:
    kind, nodes = _type(config), config.nodes
    if kind is None:
        return
    needed, size = needed_bytes(facts.weights_bytes), f"the weights of {facts.weights_bytes / GIB:.1f} GiB"
    needed_gib, system_gib = math.ceil(needed / GIB), least_root_volume_gib(kind)
    path, remedy = "drydock:nodes.dataVolumeGib", f"Set it to at least {needed_gib}."
    match weights_place(kind, nodes.data_volume_gib):
        case "instance-store" if instance_store_bytes(kind) < needed:
            there = f"{instance_store_bytes(kind) / GIB:.0f} GiB of instance store on {kind.name}"
            remedy = "Take a type with a larger one."
            yield Problem("drydock:nodes.instanceType", f"{there} do not hold {size}", remedy)
        case "data-volume" if nodes.data_volume_gib < needed_gib:
            yield Problem(path, f"{nodes.data_volume_gib} GiB do not hold {size}", remedy)
        case "root-volume" if system_gib <= nodes.root_volume_gib < system_gib + needed_gib:
            what = f"is 0, and {nodes.root_volume_gib} GiB of root volume do not hold the system and {size}"
            yield Problem(path, what, remedy)


def ssh_is_not_open_to_the_world(config: StackConfig, facts: Facts) -> Iterator[Problem]:
    yield from _cidrs("drydock:access.sshCidrs", config.access.ssh_cidrs, facts, "SSH")


def api_is_not_open_to_the_world(config: StackConfig, facts: Facts) -> Iterator[Problem]:
    yield from _cidrs("drydock:access.apiCidrs", config.access.api_cidrs, facts, "vLLM's API")


def vpc_range_is_sane(config: StackConfig, _facts: Facts) -> Iterator[Problem]:
    path, value = "drydock:network.vpcCidr", config.network.vpc_cidr
    try:
        network = ip_network(value)
    except ValueError as error:
        yield Problem(path, str(error), "Set it to a private IPv4 range such as 10.77.0.0/16.")
        return
    if not isinstance(network, IPv4Network) or not any(network.subnet_of(block) for block in PRIVATE):
        yield Problem(path, f"{value} is not a private IPv4 range", "Take e.g. 10.77.0.0/16.")
    elif not 16 <= network.prefixlen <= 28:
        yield Problem(path, f"{value} is not between /16 and /28, as AWS wants it", "Take e.g. 10.77.0.0/16.")


def nodes_reach_the_internet(config: StackConfig, facts: Facts) -> Iterator[Problem]:
    if not config.network.public_address and not facts.local_cloud:
        what = "is false, but the subnet has no NAT: nodes could get neither packages nor weights"
        yield Problem(
            "drydock:network.publicAddress", what, "Set it to true; drydock:access says who gets in."
        )


def zone_is_in_region(config: StackConfig, _facts: Facts) -> Iterator[Problem]:
    zone = config.network.availability_zone
    if not re.fullmatch(r"[a-z]{2}(-[a-z]+)+-\d", config.region):
        yield Problem("aws:region", f"`{config.region}` is not a region's name", "Set it to e.g. us-east-1.")
    elif zone and not zone.startswith(config.region):
        what = f"{zone} is not in aws:region {config.region}"
        yield Problem("drydock:network.availabilityZone", what, f"Set it to e.g. {config.region}a.")


def market_matches_reservation(config: StackConfig, _facts: Facts) -> Iterator[Problem]:
    market, reservation = config.capacity.market, config.capacity.reservation_id
    path = "drydock:capacity.reservationId"
    if market in ("capacity-block", "reservation"):
        if reservation is None:
            yield Problem(
                path, f"is missing, and market is {market}", "Set it to your reservation's cr-… id."
            )
        elif not re.fullmatch(r"cr-[0-9a-f]+", reservation):
            yield Problem(
                path, f"`{reservation}` is not of the form cr-0123…", "Copy it from the EC2 console."
            )
    elif reservation is not None:
        remedy = "Set drydock:capacity.market to capacity-block or reservation, or remove the id."
        yield Problem(path, f"{reservation} would not be used: market is {market}", remedy)


def price_is_within_limit(config: StackConfig, _facts: Facts) -> Iterator[Problem]:
    kind, limit, market = _type(config), config.max_hourly_usd, config.capacity.market
    if kind is None or limit is None:
        return
    cost = bounded_cost(kind, config.region, config.nodes.count, market)
    what = f"{config.nodes.count} x {kind.name} in {config.region} ({market})"
    if cost is None:
        paid = "; a capacity block is paid when it is bought" if market == "capacity-block" else ""
        remedy = f"Remove the limit, or choose a region, market or type with a known price{paid}."
        yield Problem("drydock:maxHourlyUsd", f"cannot be kept: no price is known for {what}", remedy)
    elif cost.usd_per_hour > limit:
        up = math.ceil(cost.usd_per_hour * 100) / 100
        remedy = f"Raise it to at least {up:.2f}, or take fewer or smaller nodes."
        price = f"{'up to ' if cost.at_most else ''}{cost.usd_per_hour:.2f} USD/h"
        yield Problem("drydock:maxHourlyUsd", f"{what} cost {price}, more than {limit:g}", remedy)


def image_is_named(config: StackConfig, _facts: Facts) -> Iterator[Problem]:
    image = config.nodes.image
    if not re.fullmatch(r"ami-[0-9a-f]{8,17}|/[\w./-]+", image):
        remedy = f"Set it to an ami-… id, or to an SSM parameter such as {catalog.DRIVER_IMAGE}."
        yield Problem("drydock:nodes.image", f"`{image}` is neither an ami-… id nor an SSM path", remedy)


def ports_are_free(config: StackConfig, _facts: Facts) -> Iterator[Problem]:
    port = config.serving.port
    if port in TAKEN_PORTS:
        yield Problem("drydock:serving.port", f"{port} is taken by {TAKEN_PORTS[port]}", "Take e.g. 8000.")
    elif port < 1024:
        yield Problem("drydock:serving.port", f"{port} is below 1024; vLLM is not root", "Take e.g. 8000.")


def root_volume_holds_the_system(config: StackConfig, _facts: Facts) -> Iterator[Problem]:
    kind, size = _type(config), config.nodes.root_volume_gib
    if kind is None:
        return
    least = least_root_volume_gib(kind)
    if size < least:
        holds = "driver, CUDA and vLLM" if kind.gpu else "the system"
        what = f"{size} GiB is too small for {holds}"
        yield Problem("drydock:nodes.rootVolumeGib", what, f"Set it to at least {least}.")


def utilization_is_a_share(config: StackConfig, _facts: Facts) -> Iterator[Problem]:
    share = config.serving.gpu_memory_utilization
    if not 0 < share <= 1:
        what = f"{share:g} is not a share above 0 and up to 1"
        yield Problem("drydock:serving.gpuMemoryUtilization", what, "Set it to e.g. 0.9.")


def extra_args_are_extra(config: StackConfig, _facts: Facts) -> Iterator[Problem]:
    for index, argument in enumerate(config.serving.extra_args):
        flag, path = flag_of(argument), f"drydock:serving.extraArgs[{index}]"
        if flag in REMOVED_FLAGS:
            yield Problem(path, f"{flag} is gone from vLLM", REMOVED_FLAGS[flag].capitalize() + ".")
        elif flag in OWN_FLAGS:
            remedy = "Remove it and use the setting of that name (the API key is made for you)."
            yield Problem(path, f"{flag} is set by Drydock itself", remedy)


def vllm_serves_the_architecture(_config: StackConfig, facts: Facts) -> Iterator[Problem]:
    if facts.shape and (problem := serving_problem(facts.shape, "drydock:model.source")):
        yield problem


def remote_code_only_where_needed(config: StackConfig, facts: Facts) -> Iterator[Problem]:
    for index, argument in enumerate(config.serving.extra_args):
        # The parser takes the start of a flag for the flag; no other one of vLLM's begins so.
        if facts.shape and flag_of(argument).startswith("--trust-rem"):
            problem = remote_code_problem(facts.shape, f"drydock:serving.extraArgs[{index}]")
            if problem:
                yield problem


PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))
DOCUMENTATION = tuple(map(IPv4Network, ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24")))
MADE_FOR = frozenset({"awq", "gptq", "compressed-tensors", "mxfp4"})
"""Quantizations that need a checkpoint made for them; vLLM does the others to a plain one while loading."""
TAKEN_PORTS = {
    22: "SSH",
    29500: "vLLM's data parallel master",
    MASTER_PORT: "vLLM's own rendezvous (--master-port)",
    29550: "vLLM's data parallel RPC",
}

RULES: tuple[Rule, ...] = (
    known_instance_type,
    at_least_one_node,
    layout_uses_every_rank,
    layout_suits_model,
    length_within_positions,
    model_is_there,
    model_name_makes_a_path,
    fp8_is_not_half,
    quantization_is_the_checkpoints,
    weights_fit_in_memory,
    weights_fit_on_disk,
    ssh_is_not_open_to_the_world,
    api_is_not_open_to_the_world,
    vpc_range_is_sane,
    nodes_reach_the_internet,
    zone_is_in_region,
    market_matches_reservation,
    price_is_within_limit,
    image_is_named,
    ports_are_free,
    root_volume_holds_the_system,
    utilization_is_a_share,
    extra_args_are_extra,
    vllm_serves_the_architecture,
    remote_code_only_where_needed,
)


def _type(config: StackConfig) -> InstanceType | None:
    return catalog.find(config.nodes.instance_type)


def _request(config: StackConfig, shape: ModelShape, kind: InstanceType) -> Request:
    serving = config.serving
    tuned = tuning(serving.profile or "balanced")
    return Request(
        max_model_len=config.model.max_model_len or shape.max_positions,
        utilization=serving.gpu_memory_utilization,
        max_num_batched_tokens=tuned.max_num_batched_tokens,
        max_num_seqs=serving.max_num_seqs or tuned.max_num_seqs,
        kv_cache_dtype=config.model.kv_cache_dtype,
        on_cpu=kind.gpu is None,
    )


def _is_fp8(config: StackConfig, facts: Facts) -> bool:
    checkpoint = facts.shape.quantization if facts.shape else ""
    return (config.model.quantization or checkpoint).startswith("fp8")


def _cidrs(path: str, cidrs: tuple[str, ...], facts: Facts, service: str) -> Iterator[Problem]:
    remedy = "Set it to your own address with /32; https://checkip.amazonaws.com shows it."
    for index, cidr in enumerate(cidrs):
        place = f"{path}[{index}]"
        try:
            network = ip_network(cidr)
        except ValueError as error:
            yield Problem(place, str(error), remedy)
            continue
        if network.prefixlen == 0:
            yield Problem(place, f"{cidr} opens {service} to the whole internet", remedy)
        elif not isinstance(network, IPv4Network):
            yield Problem(place, f"{cidr} is not IPv4, which is all that the nodes have", remedy)
        elif not facts.local_cloud and any(network.subnet_of(block) for block in DOCUMENTATION):
            yield Problem(place, f"{cidr} is a range for documentation: nobody could reach {service}", remedy)
