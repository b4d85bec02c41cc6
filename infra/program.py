"""Everything that a plan asks for, declared, and the stack's outputs."""

from pathlib import Path

import pulumi

from cluster.plan import ClusterPlan
from infra.access import Access, AccessArgs
from infra.network import Network, NetworkArgs
from infra.nodes import Nodes, NodesArgs
from infra.provider import Credentials, Weights
from infra.serving import Serving, ServingArgs
from infra.storage import Storage, StorageArgs
from infra.tags import Tags


def build(plan: ClusterPlan) -> None:
    """Declare everything that the plan asks for, and the stack's outputs."""
    tags = Tags(pulumi.get_project(), pulumi.get_stack())
    credentials = Credentials("credentials")
    network = Network("network", NetworkArgs(plan.vpc_cidr, plan.subnet_cidr, plan.availability_zone, tags))
    access = Access(
        "access",
        AccessArgs(
            vpc_id=network.vpc_id,
            ssh_cidrs=plan.ssh_cidrs,
            api_cidrs=plan.api_cidrs,
            ssh_port=plan.node.ssh_port,
            api_port=plan.node.api_port,
            ssh_public_key=credentials.ssh_public_key,
            tags=tags,
        ),
    )
    storage = Storage("storage", StorageArgs(nodes_fill_bucket=not plan.weights.is_local, tags=tags))
    source = plan.weights.source
    weights = Weights(
        "weights",
        bucket=storage.bucket,
        region=plan.region,
        source=str(Path(source).expanduser()) if plan.weights.is_local else source,
        revision=plan.weights.revision,
        prefix=plan.weights.prefix,
        opts=pulumi.ResourceOptions(depends_on=[storage]),
    )
    nodes = Nodes(
        "nodes",
        NodesArgs(
            plan=plan,
            subnet_id=network.subnet_id,
            cluster_group_id=access.cluster_group_id,
            entry_group_id=access.entry_group_id,
            key_name=access.key_name,
            instance_profile=storage.instance_profile,
            ssh_private_key=credentials.ssh_private_key,
            weights=weights,
            reachable=[network, access, storage],
            tags=tags,
        ),
    )
    serving = Serving("replica", ServingArgs(plan, nodes.machines, credentials))
    pulumi.export("endpoint", serving.endpoint)
    pulumi.export("model", plan.replica.model)
    pulumi.export(
        "inventory",
        [
            {
                "name": machine.name,
                "rank": machine.rank,
                "instanceId": machine.instance_id,
                "address": machine.address,
                "user": plan.user,
                "hostKeys": machine.bootstrap.host_keys,
            }
            for machine in nodes.machines
        ],
    )
    pulumi.export("apiKey", credentials.api_key)
    pulumi.export("sshPrivateKey", credentials.ssh_private_key)
