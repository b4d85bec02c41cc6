"""The names of users and groups: each is looked up once, for the host reads its whole list every time."""

from __future__ import annotations

import grp
import pwd
from collections.abc import Callable

_names: dict[tuple[str, int], str] = {}
_ids: dict[tuple[str, str], int] = {}


def forget() -> None:
    """They may be others from now on."""
    _names.clear()
    _ids.clear()


def user_name(number: int) -> str:
    """Its number, where it has no name."""
    return _name("user", number, lambda: pwd.getpwuid(number).pw_name)


def group_name(number: int) -> str:
    """Its number, where it has no name."""
    return _name("group", number, lambda: grp.getgrgid(number).gr_name)


def user_id(name: str) -> int:
    """Also of a number in its place. Raises KeyError."""
    return _id("user", name, lambda: pwd.getpwnam(name).pw_uid)


def group_id(name: str) -> int:
    """Also of a number in its place. Raises KeyError."""
    return _id("group", name, lambda: grp.getgrnam(name).gr_gid)


def _name(kind: str, number: int, look_up: Callable[[], str]) -> str:
    if (kind, number) not in _names:
        try:
            _names[kind, number] = look_up()
        except KeyError:
            _names[kind, number] = str(number)
    return _names[kind, number]


def _id(kind: str, name: str, look_up: Callable[[], int]) -> int:
    if (kind, name) not in _ids:
        try:
            _ids[kind, name] = int(name) if name.isdigit() else look_up()
        except KeyError:
            raise KeyError(f"no {kind} {name!r} on this host") from None
    return _ids[kind, name]
