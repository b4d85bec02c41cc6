"""One node's bootstrap: from a booted instance to a machine on which vLLM can start."""

import os
from collections.abc import Collection, Mapping, Sequence

import boto3

from ansible_like.connection import Target
from bootstrap.host_keys import await_host_keys
from bootstrap.hosts import converge, on_each, reachable
from bootstrap.node import node_digest, node_operations
from bootstrap.properties import UNKNOWN, Unknown, is_unknown
from bootstrap.replica import UNITS
from bootstrap.resources.resource import Difference, Refusal, Values, changed, refusals
from bootstrap.specs import HubAccess, node_spec, weights_source
from bootstrap.work import Work
from cluster.problems import BadInput

GONE_S = 5.0
STOP_S = 120.0
IDENTITY = ("instanceId", "address", "region")
_STOP = f"systemctl disable --quiet --now {' '.join(UNITS)} drydock-firewall.service 2>/dev/null || true"

INPUTS: Mapping[str, type] = {
    "name": str,
    "rank": int,
    "address": str,
    "user": str,
    "instanceId": str,
    "region": str,
    "sshPrivateKey": str,
    "spec": dict,
    "weights": dict,
    "deadlineS": int,
}


class Node:
    """``drydock:index:Node``: out come the inputs, ``digest`` and ``hostKeys``."""

    secrets: Collection[str] = frozenset({"sshPrivateKey"})

    def check(self, inputs: Values) -> tuple[Values, Sequence[Refusal]]:
        found = refusals(inputs, INPUTS)
        if not found:
            try:
                node_spec(inputs["spec"])
                if not isinstance(inputs["weights"], Unknown):
                    weights_source(inputs["weights"])
            except BadInput as error:
                found = [Refusal(each.path, f"is {each.what}: {each.remedy}") for each in error.problems]
        return inputs, found

    def difference(self, state: Values, inputs: Values) -> Difference:
        """What the node becomes counts, not how its spec spells it; a deadline changes nothing."""
        replaces = changed(state, inputs, IDENTITY)
        updates = changed(state, inputs, ("name", "user", "sshPrivateKey"))
        if state.get("digest") != _digest(inputs):
            specs = changed(state, inputs, ("rank", "spec", "weights"))
            updates += specs or ("digest",)  # no input: this version of Drydock makes another node of them
        return Difference(replaces + updates, replaces)

    def planned(self, inputs: Values, state: Values | None) -> Values:
        same = state is not None and not changed(state, inputs, IDENTITY)
        host_keys = state["hostKeys"] if state and same else UNKNOWN
        return inputs | {"digest": _digest(inputs), "hostKeys": host_keys}

    def create(self, inputs: Values, work: Work) -> tuple[str, Values]:
        return inputs["instanceId"], self._converged(inputs, work)

    def update(self, state: Values, inputs: Values, work: Work) -> Values:  # noqa: ARG002 - the host is asked
        return self._converged(inputs, work)

    def read(self, state: Values) -> Values | None:
        return state

    def delete(self, state: Values, work: Work) -> None:
        """Stops what this resource started on a host that answers; the instance itself goes next."""
        opened, _ = reachable([_target(state, tuple(state["hostKeys"]))], GONE_S)
        work.say("stopping Drydock's units" if opened else "the host is gone already")
        try:
            on_each(opened, lambda connection: connection.run(_STOP, sudo=True, deadline_s=STOP_S))
        finally:
            for connection in opened.values():
                connection.close()

    def _converged(self, inputs: Values, work: Work) -> Values:
        ec2 = boto3.client("ec2", region_name=inputs["region"])
        host_keys = await_host_keys(ec2, inputs["instanceId"], work)
        work.step("waiting for SSH")
        operations = node_operations(
            node_spec(inputs["spec"]),
            weights_source(inputs["weights"]),
            region=inputs["region"],
            rank=inputs["rank"],
            deadline_s=work.left_s,
            hub=HubAccess(os.environ.get("HF_TOKEN", ""), os.environ.get("HF_ENDPOINT", "")),
        )
        converge({_target(inputs, host_keys): operations}, work)
        return inputs | {"digest": _digest(inputs), "hostKeys": list(host_keys)}


def _target(values: Values, host_keys: tuple[str, ...]) -> Target:
    return Target(values["name"], values["address"], values["user"], values["sshPrivateKey"], host_keys)


def _digest(inputs: Values) -> object:
    """The digest of what the node becomes; UNKNOWN while a part of it is."""
    if any(is_unknown(inputs[name]) for name in ("spec", "weights", "region", "rank")):
        return UNKNOWN
    spec, weights = node_spec(inputs["spec"]), weights_source(inputs["weights"])
    return node_digest(spec, weights, region=inputs["region"], rank=inputs["rank"])
