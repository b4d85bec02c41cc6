"""What Pulumi asks of a provider, answered for every type by the table and the type's schema alone."""

import hashlib
import secrets
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any, Final

from rehearsal.aws_plugin.aws import Aws, Clients, Settings
from rehearsal.aws_plugin.compare import Difference, differences, observed_inputs
from rehearsal.aws_plugin.problems import REAL_PLUGIN, HalfMade, Refused, explained
from rehearsal.aws_plugin.resource import Change, Naming, Resource, Values, Wanted
from rehearsal.aws_plugin.schema import coerced, completed, misfits
from rehearsal.aws_plugin.tables import FUNCTIONS, RESOURCES
from rehearsal.aws_plugin.values import UNKNOWN, canonical, is_blank

_DEFAULTED: Final = "__defaults"
"""Where Pulumi's providers note, among the inputs, which of them they chose themselves."""

Say = Callable[[str, str], None]
"""Shows a line (second) beside the resource of an URN (first)."""


@dataclass(frozen=True)
class Diff:
    """What stands between a resource and its new inputs."""

    differences: tuple[Difference, ...]
    delete_first: bool


@dataclass(frozen=True)
class Observed:
    """A resource as it really is; ``resource_id`` is "" when it is gone."""

    resource_id: str
    state: dict[str, Any]
    inputs: dict[str, Any]


def type_of(urn: str) -> str:
    """The type in ``urn:pulumi:stack::project::parent$type::name``."""
    return urn.split("::")[2].rpartition("$")[2]


def name_of(urn: str) -> str:
    """The logical name, which may hold ``::`` itself."""
    return urn.split("::", 3)[3]


def resource_of(urn: str) -> Resource:
    """The table's entry. Raises Refused for a type that it lacks."""
    token = type_of(urn)
    if token not in RESOURCES:
        raise Refused(_not_served(token))
    return RESOURCES[token]


def _not_served(token: str) -> str:
    return (
        f"the rehearsal's aws stand-in does not serve {token}\n    → install the real plugin: {REAL_PLUGIN}"
    )


class Engine:
    """The provider. Its methods may run at once in many threads; each blocks until its work is done."""

    def __init__(self, settings: Settings, say: Say = lambda _urn, _text: None) -> None:
        self.settings = settings
        self.clients = Clients(settings)
        self._say = say
        self._stop = threading.Event()
        self._in_state: dict[str, set[str]] = {}

    def cancel(self) -> None:
        """Ends every wait."""
        self._stop.set()

    def warm_up(self) -> None:
        """Loads what the first request would wait for."""
        with suppress(Refused):  # the request that needs it will say so
            for service in ("ec2", "iam", "s3", "ssm"):
                self.clients.get(service, self.settings.region)

    def _aws(self, urn: str, values: Values) -> Aws:
        region = values.get("region") or self.settings.region
        return Aws(self.clients, region, self._stop, lambda text: self._say(urn, text))

    # --- before anything is done

    def check(
        self, urn: str, old: Values, new: Values, seed: bytes
    ) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """The inputs to use, and (property, reason) of what cannot be used."""
        resource = resource_of(urn)
        if old:
            self._in_state.setdefault(urn, set())
        inputs = coerced(
            resource.properties, {key: value for key, value in new.items() if not is_blank(value)}
        )
        inputs[_DEFAULTED] = []
        naming = resource.naming
        if naming and naming.property not in inputs:
            chosen_before = naming.property in old.get(_DEFAULTED, [])
            kept = old.get(naming.property) if chosen_before else None
            inputs[naming.property] = kept or _generated_name(name_of(urn), naming, seed)
            inputs[_DEFAULTED] = [naming.property]
        if resource.takes_tags and self.settings.default_tags and inputs.get("tags") is not UNKNOWN:
            inputs["tags"] = {**self.settings.default_tags, **inputs.get("tags", {})}
        return inputs, list(misfits(resource.properties, inputs))

    def diff(self, urn: str, resource_id: str, state: Values, old: Values, new: Values) -> Diff:
        """What changes between old and new inputs; ``state`` tells what the program left to AWS."""
        resource = resource_of(urn)
        self._in_state.setdefault(urn, set()).add(resource_id)
        # Inputs say what was wanted; only for what they leave out does the state speak.
        before = {**{key: value for key, value in state.items() if key in new and key not in old}, **old}
        if "region" in resource.properties:
            before["region"] = old.get("region") or state.get("region") or self.settings.region
            new = {**new, "region": new.get("region") or self.settings.region}
        found = tuple(differences(resource.properties, before, new))
        if resource.update is None:
            found = tuple(replace(one, replace=True) for one in found)
        return Diff(found, self._must_delete_first(resource, before, new))

    @staticmethod
    def _must_delete_first(resource: Resource, old: Values, new: Values) -> bool:
        """Where a name was given, two resources of it cannot be; a generated one differs each time."""
        naming = resource.naming
        if naming is None or naming.property in new.get(_DEFAULTED, []):
            return resource.delete_first
        return resource.delete_first or old.get(naming.property) == new.get(naming.property)

    def planned(self, urn: str, inputs: Values) -> dict[str, Any]:
        """The state that a create will end in, as far as it can be known before."""
        resource = resource_of(urn)
        state: dict[str, Any] = dict.fromkeys(resource.outputs, UNKNOWN)
        for name, prop in resource.properties.items():
            if prop.computed:
                state[name] = UNKNOWN
        state |= completed(resource.properties, inputs)
        return self._with_common(resource, inputs, state)

    def planned_update(self, urn: str, state: Values, inputs: Values) -> dict[str, Any]:
        """The same for an update."""
        resource = resource_of(urn)
        moved = dict.fromkeys(resource.moves - inputs.keys(), UNKNOWN)
        planned = {**state, **moved, **completed(resource.properties, inputs)}
        return self._with_common(resource, inputs, planned)

    def _with_common(self, resource: Resource, inputs: Values, state: Mapping[str, Any]) -> dict[str, Any]:
        common: dict[str, Any] = dict(state)
        if "region" in resource.properties:
            common["region"] = inputs.get("region") or self.settings.region
        if resource.takes_tags:
            common["tags"] = common["tagsAll"] = inputs.get("tags", {})
        return common

    # --- the work

    def create(self, urn: str, inputs: Values) -> tuple[str, dict[str, Any]]:
        """Id and state of the new resource, or of the one that an interrupted run of this create left.

        Raises HalfMade when it was made and did not become usable.
        """
        resource, aws = resource_of(urn), self._aws(urn, inputs)
        generated = resource.naming is not None and resource.naming.property in inputs.get(_DEFAULTED, [])
        filled = completed(resource.properties, inputs)
        wanted = Wanted(filled, self._marker(urn, inputs), name_of(urn), generated)
        doing = f"creating {type_of(urn)} {name_of(urn)}"
        with _Explained(doing):
            resource_id = resource.find(aws, wanted)
            if resource_id:
                aws.say(f"found {resource_id}, which an interrupted run left")
            else:
                resource_id = resource.create(aws, wanted)
        try:
            resource.settle(aws, resource_id, filled)
            return resource_id, self._state(resource, aws, resource_id, inputs, {})
        except Exception as error:
            state = self.planned(urn, inputs)
            known = {key: value for key, value in state.items() if value is not UNKNOWN}
            raise HalfMade(resource_id, known, explained(error, doing)) from error

    def _marker(self, urn: str, inputs: Values) -> str:
        """Names this create so that a repetition has the same name and no other create has.

        The ids that Pulumi's state knows for the URN are part of it: a replacement with equal inputs is
        another create than the one whose resource it replaces.
        """
        known = self._in_state.get(urn)
        if known is not None and not known:
            return secrets.token_hex(
                16
            )  # in the state, but its id was never told: take nothing for a left-over
        chosen = {*inputs.get(_DEFAULTED, []), _DEFAULTED}
        meant = {key: value for key, value in inputs.items() if key not in chosen}
        said = canonical([urn, meant, sorted(known or ())])
        return hashlib.sha256(said.encode()).hexdigest()[:32]

    def read(self, urn: str, resource_id: str, state: Values, inputs: Values) -> Observed:
        """The resource as it is, and the inputs that would describe it."""
        resource, aws = resource_of(urn), self._aws(urn, state or inputs)
        self._in_state.setdefault(urn, set()).add(resource_id)
        with _Explained(f"reading {type_of(urn)} {resource_id}"):
            found = resource.read(aws, resource_id, state)
            if found is None:
                return Observed("", {}, {})
            now = self._state(resource, aws, resource_id, inputs, state)
        return Observed(resource_id, now, observed_inputs(resource.properties, inputs, now))

    def update(self, urn: str, resource_id: str, state: Values, old: Values, new: Values) -> dict[str, Any]:
        """The state after the update."""
        resource, aws = resource_of(urn), self._aws(urn, state)
        found = self.diff(urn, resource_id, state, old, new).differences
        change = Change(
            old=state,
            new=completed(resource.properties, new),
            changed=frozenset(one.top for one in found),
        )
        with _Explained(f"updating {type_of(urn)} {resource_id}"):
            if resource.update is not None:
                resource.update(aws, resource_id, change)
            return self._state(resource, aws, resource_id, new, state)

    def delete(self, urn: str, resource_id: str, state: Values) -> None:
        """Returns when the resource is gone, also where it was gone before."""
        resource = resource_of(urn)
        with _Explained(f"deleting {type_of(urn)} {resource_id}"):
            resource.delete(self._aws(urn, state), resource_id, state)
        self._in_state.get(urn, set()).discard(resource_id)

    def invoke(self, token: str, arguments: Values) -> tuple[dict[str, Any], list[tuple[str, str]]]:
        """The function's answer, or (argument, reason) of what cannot be used."""
        if token not in FUNCTIONS:
            raise Refused(_not_served(token))
        function = FUNCTIONS[token]
        given = coerced(function.arguments, arguments)
        if failures := list(misfits(function.arguments, given)):
            return {}, failures
        aws = self._aws("", given)
        with _Explained(f"calling {token}"):
            return {**given, "region": aws.region, **function.call(aws, given)}, []

    def _state(
        self, resource: Resource, aws: Aws, resource_id: str, inputs: Values, before: Values
    ) -> dict[str, Any]:
        """What AWS says, with what only Pulumi knows."""
        found = resource.read(aws, resource_id, before or completed(resource.properties, inputs))
        if found is None:
            raise Refused(
                f"{resource_id} is gone\n    → somebody or something else deleted it: pulumi refresh"
            )
        filled = completed(resource.properties, inputs)
        local = {
            name: filled[name] for name, prop in resource.properties.items() if prop.local and name in filled
        }
        # AWS leaves out what is off and empty, and what it fills in by itself is not what the program said.
        defaults = {
            name: prop.default for name, prop in resource.properties.items() if prop.default is not None
        }
        said = {key: value for key, value in found.items() if value is not None}
        state = {**defaults, **said, **local}
        if "region" in resource.properties:
            state.setdefault("region", aws.region)
        if resource.takes_tags:
            state["tagsAll"] = said.get("tags", {})
            state["tags"] = _own_tags(said.get("tags", {}), inputs, before)
        return state


def _own_tags(tags: Values, inputs: Values, before: Values) -> dict[str, Any]:
    """The tags that the program gave, and those that came since, but not those of a launch template."""
    given = inputs.get("tags", {})
    at_first = before.get("tagsAll", {} if before else tags)
    return {key: value for key, value in tags.items() if key in given or key not in at_first}


def _generated_name(logical_name: str, naming: Naming, seed: bytes) -> str:
    """The logical name and 7 hexadecimal digits, the same for the same seed."""
    digits = (hashlib.sha256(seed).hexdigest() if seed else secrets.token_hex(4))[:7]
    stem = logical_name[: naming.longest - len(digits) - 1]
    name = f"{stem}-{digits}"
    return name.lower() if naming.lower_case else name


class _Explained:
    """Turns what boto3 raises into what a user reads."""

    def __init__(self, doing: str) -> None:
        self._doing = doing

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, Exception):
            raise Refused(explained(error, self._doing)) from error
