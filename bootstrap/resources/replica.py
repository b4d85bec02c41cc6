"""One vLLM engine over its nodes: up means that it answers a question rightly."""

from collections.abc import Collection, Mapping, Sequence

from bootstrap.properties import UNKNOWN, is_unknown
from bootstrap.replica import replica_digest
from bootstrap.resources.resource import Difference, Refusal, Values, changed, refusals
from bootstrap.serving import endpoint_of, remove, retire, serve
from bootstrap.specs import replica_nodes, replica_spec
from bootstrap.work import Work
from cluster.problems import BadInput

INPUTS: Mapping[str, type] = {
    "name": str,
    "nodes": list,
    "sshPrivateKey": str,
    "apiKey": str,
    "spec": dict,
    "deadlineS": int,
}


class Replica:
    """``drydock:index:Replica``: out come the inputs, ``endpoint`` and ``digest``."""

    secrets: Collection[str] = frozenset({"sshPrivateKey", "apiKey"})

    def check(self, inputs: Values) -> tuple[Values, Sequence[Refusal]]:
        found = refusals(inputs, INPUTS)
        if not found:
            try:
                spec = replica_spec(inputs["spec"])
                if not is_unknown(inputs["nodes"]):
                    found = _wrong_nodes(spec.nodes, [node.rank for node in replica_nodes(inputs["nodes"])])
            except BadInput as error:
                found = [Refusal(each.path, f"is {each.what}: {each.remedy}") for each in error.problems]
        return inputs, found

    def difference(self, state: Values, inputs: Values) -> Difference:
        """What runs counts: other host keys or another deadline restart nothing."""
        updates = changed(state, inputs, ("sshPrivateKey",))
        if state.get("digest") != _digest(inputs):
            updates += changed(state, inputs, ("nodes", "apiKey", "spec")) or ("digest",)
        return Difference(updates)

    def planned(self, inputs: Values, state: Values | None) -> Values:  # noqa: ARG002 - the inputs tell it all
        return inputs | {"endpoint": _endpoint(inputs), "digest": _digest(inputs)}

    def create(self, inputs: Values, work: Work) -> tuple[str, Values]:
        return inputs["name"], self._served(inputs, work)

    def update(self, state: Values, inputs: Values, work: Work) -> Values:
        kept = {node["address"] for node in inputs["nodes"]}
        if dropped := [node for node in state["nodes"] if node["address"] not in kept]:
            remove(replica_nodes(dropped), state["sshPrivateKey"], work)
        return self._served(inputs, work)

    def read(self, state: Values) -> Values | None:
        return state

    def delete(self, state: Values, work: Work) -> None:
        spec, nodes = replica_spec(state["spec"]), replica_nodes(state["nodes"])
        retire(spec, nodes, private_key=state["sshPrivateKey"], work=work)

    def _served(self, inputs: Values, work: Work) -> Values:
        spec, nodes = replica_spec(inputs["spec"]), replica_nodes(inputs["nodes"])
        serve(spec, nodes, private_key=inputs["sshPrivateKey"], api_key=inputs["apiKey"], work=work)
        return inputs | {"endpoint": _endpoint(inputs), "digest": _digest(inputs)}


def _wrong_nodes(count: int, ranks: list[int]) -> list[Refusal]:
    if ranks == list(range(count)):
        return []
    return [Refusal("nodes", f"have the ranks {ranks}, the spec asks for 0 to {count - 1}")]


def _endpoint(inputs: Values) -> object:
    if is_unknown(inputs["nodes"]):
        return UNKNOWN
    return endpoint_of(replica_spec(inputs["spec"]), replica_nodes(inputs["nodes"])).url


def _digest(inputs: Values) -> object:
    if any(is_unknown(inputs[name]) for name in ("nodes", "apiKey", "spec")):
        return UNKNOWN
    nodes = replica_nodes(inputs["nodes"])
    return replica_digest(replica_spec(inputs["spec"]), nodes, inputs["apiKey"])
