"""The agent's stand-ins do what the real ones do, as far as they go, and hand on what they have not."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import sys
import typing
from collections.abc import Iterator
from typing import Any

import pytest

from ansible_like.agent import light
from ansible_like.agent.values import json_line

REAL_AND_LIGHT = pytest.mark.parametrize("module", ["real", light], ids=["real", "light"])


def made(module: Any, name: str, body: str) -> Any:
    """A class or function of a source that uses the stand-ins, or what they stand for."""
    real = {
        "NamedTuple": typing.NamedTuple,
        "dataclass": dataclasses.dataclass,
        "field": dataclasses.field,
        "contextmanager": contextlib.contextmanager,
    }
    namespace = dict(real) if module == "real" else {each: getattr(light, each) for each in real}
    exec(f"from __future__ import annotations\n{body}", {"__name__": __name__, **namespace}, namespace)  # noqa: S102 - our own
    return namespace[name]


@REAL_AND_LIGHT
def test_named_tuples(module: Any) -> None:
    point = made(module, "Point", "class Point(NamedTuple):\n  x: int\n  y: int = 2\n")
    assert point(1) == point(x=1, y=2) == (1, 2)
    assert (point(1).y, point._fields) == (2, ("x", "y"))
    for wrong in ((1, 2, 3), ()):
        with pytest.raises((TypeError, KeyError)):
            point(*wrong)
    with pytest.raises(TypeError):
        point(1, z=3)


@REAL_AND_LIGHT
def test_data_classes(module: Any) -> None:
    body = (
        "@dataclass(frozen=True)\nclass Box:\n  a: int\n  b: dict = field(default_factory=dict)\n  c: int = 3"
    )
    box = made(module, "Box", body)
    assert (box(1).a, box(1).b, box(1).c) == (1, {}, 3)
    assert box(1).b is not box(1).b
    assert box(a=1, c=4).c == 4
    with pytest.raises(TypeError):
        box()


@REAL_AND_LIGHT
def test_context_managers(module: Any) -> None:
    body = """\
@contextmanager
def swallow(kind, other=None):
    try:
        yield 1
    except kind:
        if other:
            raise other
"""
    swallow = made(module, "swallow", body)
    with swallow(ValueError) as value:
        assert value == 1
        raise ValueError
    with pytest.raises(KeyError), swallow(ValueError):
        raise KeyError
    with pytest.raises(OSError, match="instead"), swallow(ValueError, OSError("instead")):
        raise ValueError


def test_what_they_have_not_is_the_real_one() -> None:
    assert light.ExitStack is contextlib.ExitStack
    assert light.replace is dataclasses.replace
    with pytest.raises(AttributeError, match="no_such_thing"):
        light.no_such_thing  # noqa: B018


VALUES = {
    "text": 'ü "quoted" \\ \x00 \n',
    "none": None,
    "yes": True,
    "no": False,
    "number": 1,
    "seconds": 0.25,
}


@pytest.fixture(params=["with json's C code", "without it"])
def _json(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    if request.param == "without it":
        monkeypatch.setitem(sys.modules, "_json", None)
    yield


@pytest.mark.usefixtures("_json")
def test_a_line_of_json_is_json() -> None:
    line = json_line(VALUES)
    assert json.loads(line) == VALUES
    assert line.count(b"\n") == 1
