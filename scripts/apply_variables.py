"""A host's variables, read as the type that the play gives them."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic.dataclasses import is_pydantic_dataclass
from pydantic_core import ErrorDetails

from cluster.problems import Problem
from cluster.settings import kind_of, path_of, plain, unknown_key

Location = tuple[int | str, ...]


class Variables:
    """Reads variables of one type: a dataclass, a pydantic model, or what else pydantic can check."""

    def __init__(self, kind: type[Any]) -> None:
        """Raises pydantic's errors, and NameError, where the type's annotations can't be used."""
        self._adapter: TypeAdapter[Any] = TypeAdapter(kind)
        self._adapter.rebuild()  # a name that is not there would else be told only with the first host

    def read(
        self, given: Mapping[str, Any], path: str, defaults: Mapping[str, Any]
    ) -> tuple[Any, list[Problem]]:
        """The value of a host's variables over those of all hosts, and what is wrong with them.

        Values are not told: some are secrets.
        """
        raw = {**defaults, **given}

        def where(location: Location) -> str:
            common = location and location[0] in defaults and location[0] not in given
            return path_of(("defaults" if common else path, "variables", *location))

        try:
            # JSON's rules: a list may become a tuple, but `true` no number and "2" neither
            value = self._adapter.validate_json(json.dumps(raw, default=str), strict=True)
        except ValidationError as refused:
            return None, [_problem(where, error) for error in refused.errors(include_url=False)]
        except Exception as error:  # noqa: BLE001 - the play's own code, which may raise anything
            text = f"{type(error).__name__}: {error}"
            return None, [Problem(where(()), f"the play refuses them: {text}", "Correct them.")]
        strange = [
            unknown_key(where(location), known, "the play's variables")
            for location, known in _unread(raw, value, ())
        ]
        return value, strange


def _problem(where: Callable[[Location], str], error: ErrorDetails) -> Problem:
    path = where(error["loc"])
    if error["type"] == "missing":
        return Problem(path, "is missing", "Set it there, or for all hosts in defaults.variables.")
    if error["type"] == "extra_forbidden":
        return Problem(path, "is not a setting of the play's variables", "Remove it.")
    return Problem(path, f"is {kind_of(error['input'])}: {plain(error['msg'])}", "Correct it.")


def _unread(raw: object, value: object, location: Location) -> Iterator[tuple[Location, Sequence[str]]]:
    """The keys that no field of a dataclass took; pydantic would pass them over."""
    if isinstance(raw, Mapping):
        for key, inner in raw.items():
            if isinstance(value, Mapping):
                yield from _unread(inner, value.get(key), (*location, key))
            elif dataclasses.is_dataclass(value) and not is_pydantic_dataclass(type(value)):
                known = [field.name for field in dataclasses.fields(value)]
                if key in known:
                    yield from _unread(inner, getattr(value, key), (*location, key))
                else:
                    yield (*location, key), known
    elif isinstance(raw, list) and isinstance(value, list | tuple):
        for index, (inner, item) in enumerate(zip(raw, value, strict=False)):
            yield from _unread(inner, item, (*location, index))
