"""The names of users and groups: each is looked up once, for the host reads its whole list every time."""

from __future__ import annotations

import grp
import pwd

_user_names: dict[int, str] = {}
_group_names: dict[int, str] = {}
_user_ids: dict[str, int] = {}
_group_ids: dict[str, int] = {}


def forget() -> None:
    """They may be others from now on."""
    for known in (_user_names, _group_names, _user_ids, _group_ids):
        known.clear()


def user_name(number: int) -> str:
    """Its number, where it has no name."""
    if number not in _user_names:
        try:
            _user_names[number] = pwd.getpwuid(number).pw_name
        except KeyError:
            _user_names[number] = str(number)
    return _user_names[number]


def group_name(number: int) -> str:
    """Its number, where it has no name."""
    if number not in _group_names:
        try:
            _group_names[number] = grp.getgrgid(number).gr_name
        except KeyError:
            _group_names[number] = str(number)
    return _group_names[number]


def user_id(name: str) -> int:
    """Also of a number in its place. Raises KeyError."""
    if name not in _user_ids:
        try:
            _user_ids[name] = int(name) if name.isdigit() else pwd.getpwnam(name).pw_uid
        except KeyError:
            raise KeyError(f"no user {name!r} on this host") from None
    return _user_ids[name]


def group_id(name: str) -> int:
    """Also of a number in its place. Raises KeyError."""
    if name not in _group_ids:
        try:
            _group_ids[name] = int(name) if name.isdigit() else grp.getgrnam(name).gr_gid
        except KeyError:
            raise KeyError(f"no group {name!r} on this host") from None
    return _group_ids[name]
