"""Settings of a YAML file, typed: camelCase keys, and each problem with its path and the way out."""

import difflib
import re
import typing
from collections.abc import Callable, Iterable, Mapping
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, Strict
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from cluster.problems import Problem

# Strict: YAML's `true` is no count, and its `2` is no name.
Int = Annotated[int, Strict()]
Number = Annotated[float, Strict()]
Bool = Annotated[bool, Strict()]
Str = Annotated[str, Strict(), Field(min_length=1)]
OptionalStr = Annotated[str, Strict()]


class Section(BaseModel):
    """A mapping whose keys are known; any other key is refused."""

    model_config = ConfigDict(extra="forbid", frozen=True, alias_generator=to_camel, populate_by_name=False)


def problem_of(
    error: ErrorDetails,
    root: type[BaseModel],
    *,
    owner: str,
    file: str,
    shown: Callable[[object], str] = repr,
) -> Problem:
    """Pydantic's error over ``root`` in the words of ``file``, whose settings are those of ``owner``.

    ``shown`` says the value that is wrong; one that may be secret is said by its ``kind_of``.
    """
    location = error["loc"]
    path = path_of(location)
    section, field = _field(location, root)
    if error["type"] == "extra_forbidden":
        return unknown_key(path, [alias for alias, _ in _aliases(section)], owner)
    remedy = _remedy(path, field, file)
    if error["type"] == "missing":
        return Problem(path, "is missing", remedy)
    return Problem(path, f"is {shown(error['input'])}: {plain(error['msg'])}", remedy)


def unknown_key(path: str, known: Iterable[str], owner: str) -> Problem:
    """The last key of the path is none of the known ones."""
    known = sorted(known)
    near = difflib.get_close_matches(path.rpartition(".")[2], known, n=1, cutoff=0.6)
    remedy = f"Did you mean `{near[0]}`?" if near else f"Remove it; known here: {', '.join(known) or 'none'}."
    return Problem(path, f"is not a setting of {owner}", remedy)


def kind_of(value: object) -> str:
    """What a value of YAML is, without telling it."""
    kinds: dict[type, str] = {bool: "a boolean", str: "a text", int: "a number", float: "a number"}
    return (kinds | {list: "a list", dict: "a mapping"}).get(type(value), "empty")


def plain(message: str) -> str:
    """Pydantic's sentence in words of a YAML file."""
    message = re.sub(r" or instance of \w+", "", message.replace("Input should be", "should be"))
    return message.replace("dictionary", "mapping").replace("tuple", "list").removeprefix("Value error, ")


def path_of(location: tuple[int | str, ...]) -> str:
    """Where a setting stands, e.g. ``access.sshCidrs[0]``."""
    # pydantic's mark for an error of the key itself
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in location if part != "[key]"]
    return "".join(parts).removeprefix(".")


def without(value: object, locations: Iterable[tuple[int | str, ...]]) -> object:
    """The mapping without the keys at those places."""
    if not isinstance(value, Mapping):
        return value
    gone = {place[0] for place in locations if len(place) == 1}
    return {
        key: without(item, [place[1:] for place in locations if len(place) > 1 and place[0] == key])
        for key, item in value.items()
        if key not in gone
    }


def _remedy(path: str, field: FieldInfo | None, file: str) -> str:
    if field is None:
        return f"Correct it in {file}."
    example = f", e.g. {field.examples[0]}" if field.examples else ""
    return f"Set {path} to {field.description}{example}."


def _aliases(section: type[BaseModel]) -> list[tuple[str, FieldInfo]]:
    return [(field.alias or name, field) for name, field in section.model_fields.items()]


def _field(
    location: tuple[int | str, ...], root: type[BaseModel]
) -> tuple[type[BaseModel], FieldInfo | None]:
    """The section that holds the place, and the field there; None for a key that no section has."""
    section, field = root, None
    inside: object = root
    for part in location:
        if isinstance(part, int):
            break
        if typing.get_origin(inside) is dict:  # its keys are names, not settings
            field, inside = None, typing.get_args(inside)[1]
            continue
        section = next((each for each in (inside, *typing.get_args(inside)) if _is_section(each)), section)
        field = dict(_aliases(section)).get(part)
        inside = field.annotation if field else None
    return section, field


def _is_section(kind: object) -> typing.TypeGuard[type[BaseModel]]:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
