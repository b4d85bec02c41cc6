"""The plan of a cluster: everything that infra/ builds and that bootstrap/ makes of the nodes."""

from dataclasses import asdict, dataclass
from ipaddress import IPv4Network
from typing import cast

from pydantic.alias_generators import to_camel

from cluster import catalog
from cluster.catalog import Accelerator, InstanceType
from cluster.config import Readiness, StackConfig
from cluster.cost import Cost, bounded_cost
from cluster.disk import Volume, volume, weights_place
from cluster.index_check import index_note
from cluster.nics import Nic, nics
from cluster.prices import Market
from cluster.problems import BadInput
from cluster.rules import Facts, problems
from cluster.vllm_args import MASTER_PORT, environment, head_args, worker_args
from cluster.vllm_support import VLLM_VERSION

SSH_PORT = 22
DATA_DEVICE = "/dev/sdf"
BOUGHT: dict[Market, str] = {
    "on-demand": "on demand",
    "spot": "on the spot market",
    "capacity-block": "in a capacity block",
    "reservation": "in a reservation",
}
"""How a summary names each market."""


@dataclass(frozen=True)
class NodeSpec:
    """What a node becomes; the same for every node of a cluster."""

    instance_type: str
    accelerator: Accelerator
    gpu_count: int
    gpu_name: str
    compute_capability: str
    needs_fabric_manager: bool
    efa_interfaces: int
    instance_store_disks: int
    data_device: str
    cluster_cidr: str
    api_port: int
    ssh_port: int
    vllm_version: str
    primary_interface: str
    """"" = the node finds it itself."""
    model_dir: str
    image_has_driver: bool

    def to_json(self) -> dict[str, object]:
        """The spec with camelCase keys, as the Node resource takes it."""
        return {to_camel(key): value for key, value in asdict(self).items()}


@dataclass(frozen=True)
class ReplicaSpec:
    """How one replica of the model is served over its nodes."""

    model: str
    model_dir: str
    port: int
    master_port: int
    nodes: int
    tensor_parallel_size: int
    pipeline_parallel_size: int
    data_parallel_size: int
    head_args: tuple[str, ...]
    worker_args: tuple[str, ...]
    environment: dict[str, str]
    accelerator: Accelerator
    readiness: Readiness

    def to_json(self) -> dict[str, object]:
        """The spec with camelCase keys, as the Replica resource takes it."""
        values = {to_camel(key): value for key, value in asdict(self).items()}
        lists = {"headArgs": list(self.head_args), "workerArgs": list(self.worker_args)}
        return values | lists | {"readiness": self.readiness.model_dump()}


@dataclass(frozen=True)
class WeightsSpec:
    """Where the weights come from, and under which prefix of the bucket they lie."""

    source: str
    revision: str
    is_local: bool
    prefix: str


@dataclass(frozen=True)
class ClusterPlan:
    """A cluster that may be built: no rule complains of it."""

    region: str
    availability_zone: str
    vpc_cidr: str
    subnet_cidr: str
    public_address: bool
    ssh_cidrs: tuple[str, ...]
    api_cidrs: tuple[str, ...]
    instance_type: InstanceType
    image: str
    user: str
    node_names: tuple[str, ...]
    """In the order of the ranks; the first is the head."""
    nics: tuple[Nic, ...]
    """Empty = one ordinary interface."""
    placement_group: bool
    market: Market
    reservation_id: str | None
    root_volume: Volume
    data_volume: Volume | None
    node: NodeSpec
    replica: ReplicaSpec
    weights: WeightsSpec
    node_deadline_s: int
    replica_deadline_s: int
    cost: Cost | None
    """None where no price is known for the region and market."""
    notes: tuple[str, ...]
    """What the reader should know of it though nothing forbids it."""

    def summary(self) -> str:
        """One line for `pulumi preview`: what will run, how it is laid out and what it costs."""
        replica, count = self.replica, len(self.node_names)
        sizes = f"TP {replica.tensor_parallel_size} x PP {replica.pipeline_parallel_size}"
        if replica.data_parallel_size > 1:
            sizes += f" x DP {replica.data_parallel_size}"
        price = "price unknown"
        if self.cost:
            price = f"{self.cost.usd_per_hour:.2f} USD/h, {self.cost.usd_per_month:,.0f} USD/month"
            price = f"at most {price}" if self.cost.at_most else price
        bought = BOUGHT[self.market]
        return f"{replica.model} on {count} x {self.instance_type.name}, {sizes}: {price} {bought}"


def plan(config: StackConfig, facts: Facts) -> ClusterPlan:
    """The plan for these settings; BadInput with every problem that the rules find."""
    found = problems(config, facts)
    if found:
        raise BadInput(found)
    kind = cast(InstanceType, catalog.find(config.nodes.instance_type))
    subnet_cidr = subnet_of(config.network.vpc_cidr)
    data_gib = config.nodes.data_volume_gib
    place = weights_place(kind, data_gib)
    many = config.nodes.count > 1
    # A single node talks to nobody: no EFA, and its public address comes without an Elastic IP.
    cards = nics(kind) if many else ()
    efa_interfaces = kind.efa_interfaces if cards else 0
    file_name = config.model.served_name.replace("/", "--")
    model_dir = f"/models/{file_name}"
    return ClusterPlan(
        region=config.region,
        availability_zone=config.network.availability_zone or f"{config.region}a",
        vpc_cidr=config.network.vpc_cidr,
        subnet_cidr=subnet_cidr,
        public_address=config.network.public_address,
        ssh_cidrs=config.access.ssh_cidrs,
        api_cidrs=config.access.api_cidrs,
        instance_type=kind,
        image=config.nodes.image,
        user=config.nodes.user,
        node_names=tuple(f"node-{rank}" for rank in range(config.nodes.count)),
        nics=cards,
        # A reservation outside of the group makes a launch fail for lack of capacity.
        placement_group=many and kind.gpu is not None and config.capacity.market in ("on-demand", "spot"),
        market=config.capacity.market,
        reservation_id=config.capacity.reservation_id,
        root_volume=volume(config.nodes.root_volume_gib, of_weights=place == "root-volume"),
        data_volume=volume(data_gib, of_weights=place == "data-volume") if data_gib else None,
        node=NodeSpec(
            instance_type=kind.name,
            accelerator=kind.accelerator,
            gpu_count=kind.gpu.count if kind.gpu else 0,
            gpu_name=kind.gpu.name if kind.gpu else "",
            compute_capability=kind.gpu.compute_capability if kind.gpu else "",
            needs_fabric_manager=kind.nvswitch,
            efa_interfaces=efa_interfaces,
            instance_store_disks=kind.instance_store_disks,
            data_device=DATA_DEVICE if data_gib else "",
            cluster_cidr=subnet_cidr,
            api_port=config.serving.port,
            ssh_port=SSH_PORT,
            vllm_version=VLLM_VERSION,
            primary_interface="",
            model_dir=model_dir,
            image_has_driver=config.nodes.image.startswith("/aws/service/deeplearning/"),
        ),
        replica=ReplicaSpec(
            model=config.model.served_name,
            model_dir=model_dir,
            port=config.serving.port,
            master_port=MASTER_PORT,
            nodes=config.nodes.count,
            tensor_parallel_size=config.layout.tensor_parallel_size,
            pipeline_parallel_size=config.layout.pipeline_parallel_size,
            data_parallel_size=config.layout.data_parallel_size,
            head_args=head_args(config, model_dir),
            worker_args=worker_args(config, model_dir),
            environment=environment(kind, efa=efa_interfaces > 0),
            accelerator=kind.accelerator,
            readiness=config.serving.readiness,
        ),
        weights=WeightsSpec(
            source=config.model.source,
            revision=config.model.revision,
            is_local=config.model.is_local,
            prefix=f"models/{file_name}",
        ),
        node_deadline_s=_node_deadline_s(kind, facts.weights_bytes),
        replica_deadline_s=config.serving.deadline_s,
        cost=bounded_cost(kind, config.region, config.nodes.count, config.capacity.market),
        notes=tuple(filter(None, [index_note(facts.shape) if facts.shape else ""])),
    )


def subnet_of(vpc_cidr: str) -> str:
    """The one subnet of a VPC: its second /24, or all of a VPC that is no larger than a /24."""
    network = IPv4Network(vpc_cidr)
    return str(list(network.subnets(new_prefix=24))[1]) if network.prefixlen < 24 else str(network)


def _node_deadline_s(kind: InstanceType, weights_bytes: int) -> int:
    """Seconds for boot, packages and weights: a p5 needs 25 minutes where a small node needs two."""
    boot_s = 300 if kind.gpu is None else 1500 if kind.gpu.count == 8 else 600
    packages_s = 300 if kind.gpu is None else 900
    weights_s = weights_bytes // 100_000_000  # 100 MB/s: a slow day of S3 or of the hub
    return boot_s + packages_s + weights_s
