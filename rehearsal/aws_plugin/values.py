"""Pulumi's property values as plain Python: what is unknown, what is blank, how a Struct is read."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

from google.protobuf import struct_pb2  # type: ignore[import-untyped]

_SIGNATURE: Final = "4dabf18193072939515e22adb298388d"
_SECRET: Final = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - the wire's mark of a secret, itself none
_UNKNOWN_TEXT: Final = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_UNKNOWNS: Final = frozenset(
    {
        _UNKNOWN_TEXT,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # a bool
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # a number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # an array
        "030794c1-ac77-496b-92df-f27374a8bd58",  # an asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # an archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # an object
    }
)


class Unknown:
    """A value that only the real run will bring; it equals nothing, itself excepted."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN: Final = Unknown()


class Secret:
    """A value that Pulumi must encrypt and never show."""

    def __init__(self, value: Any) -> None:
        self.value = value

    def __repr__(self) -> str:
        return "Secret(…)"


def is_blank(value: Any) -> bool:
    """Whether a value says no more than its absence does: AWS and Terraform know no empty string or list."""
    return value is None or (isinstance(value, str | Sequence | Mapping) and len(value) == 0)


def has_unknown(value: Any) -> bool:
    """Whether anything in the value is still to come."""
    if isinstance(value, Mapping):
        return any(has_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(has_unknown(item) for item in value)
    return value is UNKNOWN


def canonical(value: Any) -> str:
    """One text for equal values, whatever the order of their keys."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), default=repr)


def from_struct(struct: struct_pb2.Struct) -> dict[str, Any]:
    """A request's properties: whole numbers as int, nulls dropped, secrets opened, unknowns as UNKNOWN."""
    fields = {key: _from_value(value) for key, value in struct.fields.items()}
    return {key: value for key, value in fields.items() if value is not None}


def _from_value(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "number_value":
        return int(value.number_value) if value.number_value.is_integer() else value.number_value
    if kind == "string_value":
        return UNKNOWN if value.string_value in _UNKNOWNS else value.string_value
    if kind == "bool_value":
        return value.bool_value
    if kind == "list_value":
        return [_from_value(item) for item in value.list_value.values]
    if kind == "struct_value":
        mapping = from_struct(value.struct_value)
        return mapping.get("value") if _SIGNATURE in mapping else mapping
    return None


def to_struct(mapping: Mapping[str, Any]) -> struct_pb2.Struct:
    """An answer's properties; None is left out."""
    return struct_pb2.Struct(
        fields={key: _to_value(value) for key, value in mapping.items() if value is not None}
    )


def _to_value(value: Any) -> struct_pb2.Value:  # noqa: PLR0911 - one line a kind
    match value:
        case Unknown():
            return struct_pb2.Value(string_value=_UNKNOWN_TEXT)
        case Secret():
            return _to_value({_SIGNATURE: _SECRET, "value": value.value})
        case bool():
            return struct_pb2.Value(bool_value=value)
        case int() | float():
            return struct_pb2.Value(number_value=value)
        case str():
            return struct_pb2.Value(string_value=value)
        case Mapping():
            return struct_pb2.Value(struct_value=to_struct(value))
        case list():
            items = [_to_value(item) for item in value]
            return struct_pb2.Value(list_value=struct_pb2.ListValue(values=items))
        case _:
            raise TypeError(f"no property value: {value!r}")
