"""vLLM over the machines of a cluster."""

from collections.abc import Sequence
from dataclasses import dataclass

import pulumi

from cluster.plan import ClusterPlan
from infra.nodes import Machine
from infra.provider import Credentials, Replica


@dataclass(frozen=True)
class ServingArgs:
    """The plan, the bootstrapped machines in the order of their ranks, and the keys to them."""

    plan: ClusterPlan
    machines: Sequence[Machine]
    credentials: Credentials


class Serving(pulumi.ComponentResource):
    """One replica over all machines; the first is its head and has the endpoint."""

    endpoint: pulumi.Output[str]

    def __init__(self, name: str, args: ServingArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("drydock:cluster:Serving", name, None, opts)
        nodes = [
            {
                "name": machine.name,
                "rank": machine.rank,
                "address": machine.address,
                "user": args.plan.user,
                "hostKeys": machine.bootstrap.host_keys,
                "digest": machine.bootstrap.digest,
            }
            for machine in args.machines
        ]
        replica = Replica(
            f"{name}-0",
            name=f"{name}-0",
            nodes=nodes,
            ssh_private_key=args.credentials.ssh_private_key,
            api_key=args.credentials.api_key,
            spec=args.plan.replica.to_json(),
            deadline_s=args.plan.replica_deadline_s,
            opts=pulumi.ResourceOptions(parent=self, depends_on=[m.bootstrap for m in args.machines]),
        )
        self.endpoint = replica.endpoint
        self.register_outputs({"endpoint": replica.endpoint})
