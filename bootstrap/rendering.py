"""Templates to text. The templates lie as the remote paths they become; an unset name is an error."""

import shlex
from pathlib import Path

from ansible_like import template

TEMPLATES = Path(__file__).resolve().parent.parent / "templates"

_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:=,@+")


def systemd_word(word: str) -> str:
    """One argument as systemd reads it in ExecStart=: no specifier, variable or quote of it is expanded."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    escaped = escaped.replace("%", "%%").replace("$", "$$")
    return escaped if word and set(word) <= _PLAIN else f'"{escaped}"'


def systemd_words(argv: list[str]) -> str:
    """An argument list as the right-hand side of ExecStart=."""
    return " ".join(systemd_word(word) for word in argv)


def environment_value(value: str) -> str:
    """One value as systemd reads it in an EnvironmentFile=: quoted, nothing in it expanded."""
    for special in '\\"`$':
        value = value.replace(special, "\\" + special)
    return f'"{value}"'


_TEMPLATES = template.environment(TEMPLATES)
_TEMPLATES.filters |= {
    "systemd_words": systemd_words,
    "environment_value": environment_value,
    "shell": shlex.quote,
}


def render(remote_path: str, **values: object) -> str:
    """The text of the file that becomes ``remote_path``.

    Reads ``templates/<remote_path>.j2``, or ``templates/<remote_path>`` as it stands where there is no
    such template. Raises PlayRefused when the template names a value that was not given.
    """
    name = remote_path.removeprefix("/")
    if (TEMPLATES / f"{name}.j2").is_file():
        return template.render(_TEMPLATES, f"{name}.j2", values)
    return (TEMPLATES / name).read_text()
