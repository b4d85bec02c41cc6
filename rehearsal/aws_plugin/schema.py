"""What a property is: its kind, whether a change replaces, and its name on AWS's wire."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from rehearsal.aws_plugin.values import UNKNOWN, is_blank


class Kind(Enum):
    TEXT = "a string"
    NUMBER = "a whole number"
    FLAG = "true or false"
    FLAG_TEXT = '"true" or "false"'
    """A flag that Terraform keeps as text, so that unset differs from false."""
    MAP = "a map of strings"
    LIST = "a list"
    OBJECT = "an object"


def _same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Prop:
    """One property of a type.

    ``replace``: a change makes a new resource. ``computed``: when the program leaves it out, AWS chooses, and
    leaving it out later is no change. ``local``: only Pulumi's state knows it. ``default``: what its absence
    means. ``normal``: brings two spellings of one meaning together before they are compared. ``wire``: the
    name in AWS's API where it isn't the same name in PascalCase.
    """

    kind: Kind
    required: bool = False
    replace: bool = False
    computed: bool = False
    local: bool = False
    default: Any = None
    of: "Prop | None" = None
    fields: Mapping[str, "Prop"] = field(default_factory=dict)
    unordered: bool = False
    normal: Callable[[Any], Any] = _same
    wire: str | None = None


Props = Mapping[str, Prop]


def text(**more: Any) -> Prop:
    return Prop(Kind.TEXT, **more)


def number(**more: Any) -> Prop:
    return Prop(Kind.NUMBER, **more)


def flag(**more: Any) -> Prop:
    return Prop(Kind.FLAG, **more)


def flag_text(**more: Any) -> Prop:
    return Prop(Kind.FLAG_TEXT, **more)


def mapping(**more: Any) -> Prop:
    return Prop(Kind.MAP, **more)


def texts(**more: Any) -> Prop:
    """Strings whose order says nothing."""
    return Prop(Kind.LIST, of=text(), unordered=True, **more)


def obj(fields: Props, **more: Any) -> Prop:
    return Prop(Kind.OBJECT, fields=fields, **more)


def objects(fields: Props, **more: Any) -> Prop:
    return Prop(Kind.LIST, of=obj(fields), **more)


def policy(**more: Any) -> Prop:
    """A policy document, compared by its meaning."""
    return Prop(Kind.TEXT, normal=policy_meaning, **more)


def policy_meaning(document: Any) -> Any:
    """The document with one-element lists opened, as IAM treats them; text that is no JSON stays text."""
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except ValueError:
            return document
    return _opened(document)


def _opened(node: Any) -> Any:
    if isinstance(node, Mapping):
        return {key: _opened(value) for key, value in node.items()}
    if isinstance(node, list):
        return _opened(node[0]) if len(node) == 1 else [_opened(item) for item in node]
    return node


REGION = text(computed=True, replace=True)
TAGS = mapping()


def misfits(props: Props, given: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, str]]:
    """Each property at fault and why: not served, missing, or of another kind."""
    for name, value in given.items():
        if name.startswith("__"):
            continue
        where = f"{path}{name}"
        if name not in props:
            served = ", ".join(sorted(props))
            yield where, f"the rehearsal's aws stand-in does not serve this property (it serves: {served})"
        elif not is_blank(value):
            yield from _misfits_of(props[name], value, where)
    for name, prop in props.items():
        if prop.required and given.get(name) is None:
            yield f"{path}{name}", "is required"


_PYTHON: Final[Mapping[Kind, type[Any]]] = {
    Kind.TEXT: str,
    Kind.NUMBER: int,
    Kind.FLAG: bool,
    Kind.FLAG_TEXT: str,
    Kind.MAP: dict,
    Kind.LIST: list,
    Kind.OBJECT: dict,
}


def _misfits_of(prop: Prop, value: Any, where: str) -> Iterator[tuple[str, str]]:
    if value is UNKNOWN:
        return
    wrong_flag = prop.kind is Kind.FLAG_TEXT and value not in ("true", "false")
    if wrong_flag or not isinstance(value, _PYTHON[prop.kind]):
        yield where, f"must be {prop.kind.value}, not {value!r}"
    elif prop.kind is Kind.OBJECT:
        yield from misfits(prop.fields, value, f"{where}.")
    elif prop.of is not None:
        for index, item in enumerate(value):
            yield from _misfits_of(prop.of, item, f"{where}[{index}]")


def coerced(props: Props, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values in the kind that their property wants, where nothing is lost: "8" → 8, true → "true"."""
    return {key: _coerced(props[key], value) if key in props else value for key, value in given.items()}


def _coerced(prop: Prop, value: Any) -> Any:  # noqa: PLR0911 - one line a kind
    match prop.kind, value:
        case ((Kind.TEXT | Kind.FLAG_TEXT), bool()):
            return "true" if value else "false"
        case Kind.TEXT, int():
            return str(value)
        case Kind.TEXT, dict() if prop.normal is policy_meaning:
            return json.dumps(value)
        case Kind.NUMBER, str() if value.isdecimal():
            return int(value)
        case Kind.FLAG, ("true" | "false"):
            return value == "true"
        case Kind.OBJECT, dict():
            return coerced(prop.fields, value)
        case Kind.LIST, list() if prop.of is not None:
            return [_coerced(prop.of, item) for item in value]
    return value


def completed(props: Props, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values with the defaults of what was left out."""
    filled = {name: value for name, value in given.items() if not name.startswith("__")}
    for name, prop in props.items():
        if filled.get(name) is None and prop.default is not None:
            filled[name] = prop.default
    return filled


def _wire_name(name: str, prop: Prop) -> str:
    return prop.wire or name[0].upper() + name[1:]


def to_wire(props: Props, given: Mapping[str, Any]) -> dict[str, Any]:
    """The values as boto3 takes them; what is blank or local is left out."""
    return {
        _wire_name(name, props[name]): _to_wire(props[name], value)
        for name, value in given.items()
        if name in props and not props[name].local and not is_blank(value)
    }


def _to_wire(prop: Prop, value: Any) -> Any:
    if prop.kind is Kind.FLAG_TEXT:
        return value == "true"
    if prop.kind is Kind.OBJECT:
        return to_wire(prop.fields, value)
    if prop.kind is Kind.LIST and prop.of is not None:
        return [_to_wire(prop.of, item) for item in value]
    return [{"Key": key, "Value": text} for key, text in value.items()] if prop.kind is Kind.MAP else value


def from_wire(props: Props, described: Mapping[str, Any]) -> dict[str, Any]:
    """What boto3 answered as Pulumi's properties; what it did not say is left out."""
    found: dict[str, Any] = {}
    for name, prop in props.items():
        value = described.get(_wire_name(name, prop))
        if not is_blank(value):
            found[name] = _from_wire(prop, value)
    return found


def _from_wire(prop: Prop, value: Any) -> Any:
    if prop.kind is Kind.FLAG_TEXT:
        return "true" if value in (True, "true") else "false"
    if prop.kind is Kind.OBJECT:
        return from_wire(prop.fields, value)
    if prop.kind is Kind.LIST and prop.of is not None:
        return [_from_wire(prop.of, item) for item in value]
    if prop.kind is Kind.MAP:
        return {item["Key"]: item["Value"] for item in value}
    return value
