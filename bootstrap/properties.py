"""Pulumi's property maps to plain Python values and back: unknowns and secrets are kept apart."""

from collections.abc import Collection, Mapping
from typing import Any

from google.protobuf import json_format, struct_pb2  # type: ignore[import-untyped]

_SIGNATURE_KEY = "4dabf18193072939515e22adb298388d"
_SECRET_SIGNATURE = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - the protocol's mark, no secret
_UNKNOWN_TEXT = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"


class Unknown:
    """A value that is not there yet: an output of a resource that a preview only plans."""

    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = Unknown()


def is_unknown(value: object) -> bool:
    """Whether a value is, or holds anywhere inside, something that is not known yet."""
    if isinstance(value, Mapping):
        return any(is_unknown(item) for item in value.values())
    if isinstance(value, list):
        return any(is_unknown(item) for item in value)
    return isinstance(value, Unknown)


def from_struct(struct: struct_pb2.Struct) -> dict[str, Any]:
    """A property map as Python values: whole numbers as int, secrets as their bare value."""
    return {name: _plain(value) for name, value in json_format.MessageToDict(struct).items()}


def _plain(value: Any) -> Any:
    match value:
        case dict() if _SIGNATURE_KEY in value:
            if value[_SIGNATURE_KEY] != _SECRET_SIGNATURE:
                raise ValueError(
                    "an asset, archive or resource reference, which no resource of Drydock takes"
                )
            return _plain(value["value"])
        case dict():
            return {name: _plain(item) for name, item in value.items()}
        case list():
            return [_plain(item) for item in value]
        case float() if value.is_integer():
            return int(value)
    return UNKNOWN if value == _UNKNOWN_TEXT else value


def to_struct(values: Mapping[str, Any], secrets: Collection[str] = ()) -> struct_pb2.Struct:
    """Python values as a property map; the properties named in ``secrets`` are marked as secret."""
    marked = {
        name: {_SIGNATURE_KEY: _SECRET_SIGNATURE, "value": _wire(value)} if name in secrets else _wire(value)
        for name, value in values.items()
    }
    return json_format.ParseDict(marked, struct_pb2.Struct())


def _wire(value: Any) -> Any:
    match value:
        case Unknown():
            return _UNKNOWN_TEXT
        case Mapping():
            return {name: _wire(item) for name, item in value.items()}
        case list() | tuple():
            return [_wire(item) for item in value]
    return value
