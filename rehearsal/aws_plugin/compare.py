"""What changed between two sets of inputs, and which inputs a resource's real state amounts to."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from rehearsal.aws_plugin.schema import Kind, Prop, Props, completed
from rehearsal.aws_plugin.values import UNKNOWN, canonical, has_unknown, is_blank


class How(Enum):
    ADD = "add"
    DELETE = "delete"
    UPDATE = "update"


@dataclass(frozen=True)
class Difference:
    """One changed path, e.g. ``tags.Name`` or ``blockDeviceMappings[0].ebs.volumeSize``."""

    path: str
    how: How
    replace: bool

    @property
    def top(self) -> str:
        """The property of the resource that the path begins with."""
        return self.path.split(".")[0].split("[")[0]


def differences(props: Props, old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Difference]:
    """Every change from old inputs to new ones.

    Defaults are filled in on both sides; a computed property that is no longer given is no change; lists
    whose order says nothing are compared as sets.
    """
    return list(_in_object(props, old, new, "", replace=False))


def _in_object(
    props: Props, old: Mapping[str, Any], new: Mapping[str, Any], path: str, *, replace: bool
) -> Iterator[Difference]:
    old, new = completed(props, old), completed(props, new)
    for name, prop in props.items():
        if name in new or not prop.computed:
            where = f"{path}.{name}" if path else name
            yield from _in_value(prop, old.get(name), new.get(name), where, replace=replace or prop.replace)


def _in_value(prop: Prop, old: Any, new: Any, path: str, *, replace: bool) -> Iterator[Difference]:
    was, is_now = not _says_nothing(prop, old), not _says_nothing(prop, new)
    if not was and not is_now:
        return
    if not was:
        yield Difference(path, How.ADD, replace)
    elif not is_now:
        yield Difference(path, How.DELETE, replace)
    elif new is UNKNOWN or old is UNKNOWN:
        yield Difference(path, How.UPDATE, replace)
    elif prop.kind is Kind.OBJECT:
        yield from _in_object(prop.fields, old, new, path, replace=replace)
    elif prop.kind is Kind.MAP:
        for key in dict.fromkeys([*old, *new]):
            where = f"{path}.{key}" if key.isidentifier() else f'{path}["{key}"]'
            yield from _in_value(Prop(Kind.TEXT), old.get(key), new.get(key), where, replace=replace)
    elif prop.kind is Kind.LIST and prop.of is not None:
        yield from _in_list(prop, prop.of, old, new, path, replace=replace)
    elif prop.normal(old) != prop.normal(new):
        yield Difference(path, How.UPDATE, replace)


def _says_nothing(prop: Prop, value: Any) -> bool:
    if prop.kind is Kind.OBJECT and isinstance(value, Mapping):
        return all(_says_nothing(prop.fields.get(name, Prop(Kind.TEXT)), it) for name, it in value.items())
    return is_blank(value)


def _in_list(prop: Prop, of: Prop, old: Any, new: Any, path: str, *, replace: bool) -> Iterator[Difference]:
    if prop.unordered:
        if has_unknown(new) or sorted(map(_content, old)) != sorted(map(_content, new)):
            yield Difference(path, How.UPDATE, replace)
        return
    for index in range(max(len(old), len(new))):
        before = old[index] if index < len(old) else None
        after = new[index] if index < len(new) else None
        yield from _in_value(of, before, after, f"{path}[{index}]", replace=replace)


def _content(item: Any) -> str:
    filled = (
        {key: value for key, value in item.items() if not is_blank(value)} if isinstance(item, dict) else item
    )
    return canonical(filled)


def observed_inputs(props: Props, given: Mapping[str, Any], state: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs that would describe the real state, as the program spelled them where they still hold.

    What the program left to AWS stays left out, so that a refresh of an untouched resource changes nothing;
    what somebody set behind Pulumi's back comes in, so that the next run shows it.
    """
    seen: dict[str, Any] = {key: value for key, value in given.items() if key.startswith("__")}
    for name, prop in props.items():
        if name in given:
            kept = given[name] if prop.local else _observed(prop, given[name], state.get(name))
            if kept is not None:
                seen[name] = kept
        elif (
            not (prop.local or prop.computed)
            and not is_blank(state.get(name))
            and state[name] != prop.default
        ):
            seen[name] = state[name]
    return seen


def _observed(prop: Prop, given: Any, actual: Any) -> Any:
    if not list(_in_value(prop, actual, given, "", replace=False)):
        return given
    if prop.kind is Kind.OBJECT and isinstance(given, Mapping) and isinstance(actual, Mapping):
        return observed_inputs(prop.fields, given, actual)
    return actual
