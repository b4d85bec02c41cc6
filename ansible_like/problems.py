"""What is wrong in a desired state as it is written: found before anything is sent, everything at once."""

from __future__ import annotations

import base64
import dataclasses
import functools
import posixpath
import re
import types
import typing
import urllib.parse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

from ansible_like.operations import (
    KINDS,
    Absent,
    AuthorizedKey,
    Command,
    Directory,
    Download,
    File,
    Group,
    InstanceStore,
    KernelModule,
    Limits,
    LineInFile,
    Link,
    Mount,
    Operation,
    Package,
    Reboot,
    Repository,
    Service,
    Sysctl,
    Upload,
    User,
    WaitFor,
    names_of,
    references_of,
)

MOST_CONNECTIONS: Final = 32
LONGEST_S: Final = 1_000_000  # the host's poll(2) counts milliseconds in 32 bits


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: where, what, and the way out."""

    where: str
    what: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.where}: {self.what}\n    → {self.remedy}"


@functools.cache
def _hints(kind: str) -> Mapping[str, Any]:
    return typing.get_type_hints(KINDS[kind])


def problems_of(operations: Sequence[Operation]) -> Iterator[Problem]:
    """What is wrong in the desired state of one host."""
    earlier: set[str] = set()
    titles: set[str] = set()
    for operation in operations:
        if wrong := list(_wrong_types(operation)):
            yield from wrong  # neither its title nor its rules could be relied on
            continue
        title = operation.title
        yield from _broken_rules(operation)
        if title in titles:
            remedy = "Give each a name." if isinstance(operation, Command | Reboot) else "Keep one of them."
            yield Problem(title, "stands there twice", remedy)
        for reference in references_of(operation):
            if reference not in earlier:
                remedy = "Name one by its title, path or unit, and put it before this one."
                yield Problem(title, f"no earlier operation is called {reference!r}", remedy)
        titles.add(title)
        earlier.update(names_of(operation))


def over_hosts(found: Iterable[tuple[str, Problem]]) -> list[Problem]:
    """The problems of many hosts, each told once with the hosts that have it."""
    hosts: dict[Problem, list[str]] = {}
    for host, problem in found:
        hosts.setdefault(problem, []).append(host)
    return [
        dataclasses.replace(
            problem, what=f"{problem.what} (on {first}{f' and {len(rest)} more' if rest else ''})"
        )
        for problem, (first, *rest) in hosts.items()
    ]


class Rule(NamedTuple):
    """What one field must be; ``wanted`` completes "Give …"."""

    field: str
    holds: Callable[[Any], object]
    wanted: str


def _all(holds: Callable[[Any], object], at_least: int = 0) -> Callable[[Any], bool]:
    return lambda values: len(values) >= at_least and all(holds(value) for value in values)


def _or_none(holds: Callable[[Any], object]) -> Callable[[Any], object]:
    return lambda value: value is None or holds(value)


def _matches(pattern: str) -> Callable[[str], object]:
    return re.compile(pattern).fullmatch


def _is_path(path: str) -> bool:
    """Absolute and in its plain form: references compare paths as texts."""
    return path == posixpath.normpath(path) and path[:1] == "/" != path[1:2] and _is_one_line(path)


def _is_one_line(text: str) -> bool:
    return not re.search(r"[\x00-\x1f\x7f]", text)


def _is_regex(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def _is_argv(argv: Sequence[str] | str) -> bool:
    return bool(argv.strip() if isinstance(argv, str) else argv and argv[0])


def _is_public_key(text: str) -> bool:
    """A line of authorized_keys whose key is whole: it begins with the length and name of its type."""
    from ansible_like.agent import lines  # noqa: PLC0415 - loads much of the agent, which few plays need here

    identity = lines.identity(text)
    if identity is None or len(text.strip().splitlines()) != 1:
        return False
    kind, packed = identity[1].split()
    try:
        name, blob = kind.encode(), base64.b64decode(packed, validate=True)
    except ValueError:
        return False
    return blob.startswith(len(name).to_bytes(4, "big") + name) and len(blob) > len(name) + 4


def _is_openpgp(key: str | bytes) -> bool:
    """Armored, or in the old or the new form of a packet whose tag is that of a public key."""
    data = key.encode("utf-8", "replace") if isinstance(key, str) else key
    if data.startswith(b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"):
        return b"\n-----END PGP PUBLIC KEY BLOCK-----" in data
    return data[:1] in (b"\x98", b"\x99", b"\x9a", b"\xc6")


def _is_sysctl_key(key: str) -> bool:
    parts = key.split("/" if "/" in key else ".")
    return len(parts) > 1 and all(re.fullmatch(r"[\w:@.-]+", part) and part.strip(".") for part in parts)


def _is_url(url: str) -> bool:
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    is_web = parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0
    return is_web and url.isascii() and _is_one_line(url) and " " not in url


NAME: Final = _matches(r"[^\s:/,-][^\s:/,]*")
UNIT: Final = _matches(r"[\w:.@\\][\w:.@\\-]*")
FILE_NAME: Final = _matches(r"[\w-][\w.-]*")
WORD: Final = _matches(r"\S+")
FILESYSTEM: Final = _matches(r"[a-z][\w.-]*")
# apt-get takes a minus at a name's end for a removal
PACKAGE: Final = _matches(
    r"[a-z0-9][a-z0-9+.-]*[a-z0-9+.](:[a-z0-9-]*[a-z0-9])?(=[A-Za-z0-9.+~:-]*[A-Za-z0-9.+~])?"
)
LIMIT: Final = _matches(
    r"\s*(#.*)?|\s*\S+\s+-|\s*\S+\s+(soft|hard|-)\s+(core|data|fsize|memlock|nofile|rss|stack|cpu|nproc|as|maxlogins"
    r"|maxsyslogins|nonewprivs|priority|locks|sigpending|msgqueue|nice|rtprio)\s+(unlimited|infinity|-?\d+)"
    r"\s*(#.*)?"
)

A_PATH: Final = "an absolute path without `..`, `//`, a `/` at its end and control characters"
A_NAME: Final = "a name without spaces, colons, commas and slashes"
COMMAND: Final = "a command: a tuple of a program and its arguments, or a script for the shell"

PLACE: Final = Rule("path", lambda path: _is_path(path) and path != "/", A_PATH)
OWNED: Final = (
    PLACE,
    Rule("mode", lambda mode: 0 <= mode <= 0o7777, "a mode such as 0o644, up to 0o7777"),
    Rule("owner", NAME, A_NAME),
    Rule("group", NAME, A_NAME),
)
RUNS: Final = Rule("deadline_s", lambda value: value > 0, "more than 0 s")

RULES: Final[Mapping[type[Any], tuple[Rule, ...]]] = {
    File: OWNED,
    Upload: (*OWNED, Rule("source", bool, "the path of a file here")),
    Download: (
        *OWNED,
        Rule("url", _is_url, "a URL with http or https and a host, in ASCII"),
        Rule("sha256", _matches("[0-9a-f]{64}"), "the content's sha256: 64 digits, 0-9 and a-f"),
        Rule("connections", lambda count: 1 <= count <= MOST_CONNECTIONS, f"1 to {MOST_CONNECTIONS}"),
        RUNS,
    ),
    Directory: OWNED,
    Absent: (PLACE,),
    Link: (PLACE, Rule("target", bool, "what it points to")),
    Package: (Rule("names", _all(PACKAGE, 1), 'Debian\'s names, such as ("curl", "xfsprogs=6.6.0-1")'),),
    Repository: (
        Rule("name", FILE_NAME, "a file's name without its ending: letters, digits, `-`, `_` and `.`"),
        Rule(
            "uris", _all(_matches(r"[a-z+]+:[^\s$]+"), 1), "where it lies, such as https://example.org/debian"
        ),
        Rule(
            "suites", _all(_matches(r"[^\s$]+"), 1), "its suites, such as stable, or folders that end with /"
        ),
        Rule("components", _all(_matches(r"[\w./-]+")), "its components, such as main"),
        Rule("architectures", _all(_matches(r"[a-z0-9-]+")), "Debian's names, such as amd64"),
        Rule("key", _is_openpgp, "the public key that signs it, armored text or its bytes"),
    ),
    Group: (Rule("name", NAME, A_NAME),),
    User: (
        Rule("name", NAME, A_NAME),
        Rule("home", _is_path, A_PATH),
        Rule("shell", _is_path, A_PATH),
        Rule("groups", _all(NAME), "names of groups"),
    ),
    Sysctl: (
        PLACE,
        Rule("settings", _all(_is_sysctl_key, 1), "keys such as net.core.somaxconn"),
        Rule(
            "settings",
            lambda settings: all(value.strip() and _is_one_line(value) for value in settings.values()),
            "each key a value of one line",
        ),
    ),
    LineInFile: (
        PLACE,
        Rule("line", lambda line: line and "\n" not in line, "one line, without its newline"),
        Rule("replaces", _or_none(_is_regex), "a regular expression of Python's `re`"),
    ),
    AuthorizedKey: (
        Rule("user", NAME, A_NAME),
        Rule("key", _is_public_key, "one whole line of authorized_keys: options, type, key, comment"),
    ),
    KernelModule: (Rule("name", _matches(r"\w[\w-]*"), "a module's name, such as br_netfilter"),),
    Limits: (
        Rule("name", FILE_NAME, "a file's name without .conf: letters, digits, `-`, `_` and `.`"),
        Rule("lines", _all(LIMIT, 1), "lines of limits.conf(5), such as `* soft nofile 65536`"),
    ),
    Service: (Rule("unit", UNIT, "a unit, such as app.service"), RUNS),
    Mount: (
        Rule("device", _is_path, A_PATH),
        Rule("path", lambda path: PLACE.holds(path) and WORD(path), f"{A_PATH}, and without spaces"),
        Rule("filesystem", FILESYSTEM, "a type of filesystem, such as ext4"),
        Rule("options", WORD, "options as in fstab(5), with commas and without spaces"),
    ),
    InstanceStore: (
        Rule("devices", _all(_is_path, 1), "the paths of the disks"),
        Rule("devices", lambda devices: len(set(devices)) == len(devices), "each disk once"),
        Rule("path", lambda path: PLACE.holds(path) and WORD(path), f"{A_PATH}, and without spaces"),
        Rule("filesystem", _matches("ext4|xfs"), "ext4 or xfs"),
    ),
    Command: (
        Rule("argv", _is_argv, COMMAND),
        Rule("unless", _or_none(_is_argv), COMMAND),
        Rule("creates", _or_none(_is_path), A_PATH),
        Rule("ok_codes", _all(lambda code: 0 <= code <= 255, 1), "exit codes from 0 to 255"),
        Rule("environment", _all(lambda name: name and "=" not in name), "names without `=`"),
        Rule("retries", lambda times: times >= 0, "0 or more"),
        Rule("directory", _is_path, A_PATH),
        Rule("user", _or_none(NAME), A_NAME),
        Rule("name", _is_one_line, "one line"),
        RUNS,
    ),
    WaitFor: (
        Rule("port", _or_none(lambda port: 0 < port < 65536), "a port from 1 to 65535"),
        Rule("address", WORD, "an address or a host's name"),
        Rule("path", _or_none(_is_path), A_PATH),
        Rule("unit", _or_none(UNIT), "a unit, such as app.service"),
        Rule("url", _or_none(_is_url), "a URL with http or https and a host, in ASCII"),
        Rule("status", _or_none(lambda status: 100 <= status <= 599), "an HTTP status from 100 to 599"),
    ),
    Reboot: (RUNS, Rule("name", _is_one_line, "one line")),
}


def _rules_for_all(kind: type[Any]) -> Iterator[Rule]:
    for field in dataclasses.fields(kind):
        if field.name.endswith("_s"):
            yield Rule(field.name, lambda value: 0 <= value <= LONGEST_S, f"0 to {LONGEST_S} s")
        elif field.name in ("content", "secret_stdin"):
            yield Rule(field.name, _is_utf_8, "text that is UTF-8")
        else:
            yield Rule(field.name, _is_utf_8_without_nul, "text that is UTF-8, without NUL")


def _is_utf_8(value: object) -> bool:
    try:
        return all(text.encode() is not None for text in _texts(value))
    except UnicodeEncodeError:
        return False


def _is_utf_8_without_nul(value: object) -> bool:
    return _is_utf_8(value) and not any("\0" in text for text in _texts(value))


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        yield from (text for pair in value.items() for each in pair for text in _texts(each))
    elif isinstance(value, list | tuple):
        yield from (text for each in value for text in _texts(each))


ALL_RULES: Final = {kind: (*RULES[kind], *_rules_for_all(kind)) for kind in KINDS.values()}


def _broken_rules(operation: Operation) -> Iterator[Problem]:
    title = " ".join(operation.title.split())
    told: set[str] = set()
    for rule in ALL_RULES[type(operation)]:
        if rule.field not in told and not rule.holds(getattr(operation, rule.field)):
            told.add(rule.field)
            yield _unusable(title, operation, rule.field, rule.wanted)
    if isinstance(operation, Repository):
        folders = {suite.endswith("/") for suite in operation.suites}
        if folders and folders != {not operation.components}:
            remedy = "Give components, or only suites that end with /."
            yield Problem(title, "has components for its folders, or none for its suites", remedy)
    if isinstance(operation, WaitFor):
        given = (operation.port, operation.path, operation.unit, operation.url)
        if all(each is None for each in given):
            yield Problem(title, "waits for nothing", "Give a port, a path, a unit or a url.")
        if operation.status is not None and operation.url is None:
            yield Problem(title, "has a status but no url", "Give the url that answers with it.")


def _wrong_types(operation: object) -> Iterator[Problem]:
    kind: type[Any] = type(operation)
    if kind not in KINDS.values():
        yield Problem(kind.__name__, "is no operation", f"Give one of {', '.join(KINDS)}.")
        return
    for name, hint in _hints(kind.__name__).items():
        if not _fits(getattr(operation, name), hint):
            yield _unusable(kind.__name__, operation, name, _in_words(hint))


def _fits(value: object, hint: Any) -> bool:
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is types.UnionType:
        return any(_fits(value, each) for each in inner)
    if origin is tuple:
        return isinstance(value, list | tuple) and all(_fits(each, inner[0]) for each in value)
    if origin is not None:
        return isinstance(value, Mapping) and all(
            _fits(each, hint) for pair in value.items() for each, hint in zip(pair, inner, strict=True)
        )
    if hint is float:
        hint = int | float
    return isinstance(value, hint) and (hint is bool or not isinstance(value, bool))


def _in_words(hint: Any) -> str:
    text = hint.__name__ if isinstance(hint, type) else str(hint)
    return text.replace("collections.abc.", "").replace("NoneType", "None")


def _unusable(where: str, operation: Any, name: str, wanted: str) -> Problem:
    """Shows the value, unless it is one that its operation keeps out of ``repr``; of a mapping the keys."""
    field = next(field for field in dataclasses.fields(operation) if field.name == name)
    value = getattr(operation, name)
    shown = f" {list(value) if isinstance(value, Mapping) else value!r}" if field.repr else ""
    return Problem(where, f"{name}{shown} can't be used", f"Give {wanted}.")
