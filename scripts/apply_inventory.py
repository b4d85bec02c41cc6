"""The hosts of an inventory file: where they are, what they must show, and their variables of the play."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Annotated, Any, Final

import yaml
from pydantic import AfterValidator, Field, ValidationError
from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from ansible_like.connection import Target
from ansible_like.play import Host
from cluster.problems import Problem
from cluster.settings import Bool, Int, Section, Str, kind_of, path_of, problem_of, without
from scripts.apply_keys import BadKey, KnownHosts, known_name, read_known_hosts, read_private_key
from scripts.apply_variables import Variables

SSH_PORT: Final = 22


def _is_host_key(line: str) -> str:
    kind, _, rest = line.partition(" ")
    try:
        blob = base64.b64decode(rest.partition(" ")[0], validate=True)
    except binascii.Error:
        blob = b""
    if not kind or blob[4 : 4 + len(kind)] != kind.encode():
        raise ValueError("should be the kind of a host key and its base64 text")
    return line


HostKey = Annotated[Str, AfterValidator(_is_host_key)]


class _Login(Section):
    """How SSH comes in; what is not given here is taken from the defaults."""

    user: Str | None = Field(default=None, description="the login user", examples=["ubuntu"])
    port: Int | None = Field(default=None, ge=1, le=65535, description="the port of SSH", examples=[22])
    private_key_file: Str | None = Field(
        default=None, description="the file of the login user's private key", examples=["~/.ssh/id_ed25519"]
    )


class _Place(_Login):
    """Somewhere to log in, perhaps through another host."""

    address: Str | None = Field(default=None, description="an address or a DNS name", examples=["10.0.0.5"])
    host_keys: tuple[HostKey, ...] = Field(
        default=(),
        description="the host keys that it may show",
        examples=[["ssh-ed25519 AAAAC3Nza…"]],
    )
    jump: "_Place | None" = Field(
        default=None,
        description="the host to go through",
        examples=[{"address": "203.0.113.7", "hostKeys": ["ssh-ed25519 AAAAC3Nza…"]}],
    )


class _Host(_Place):
    sudo: Bool | None = Field(
        default=None, description="whether a user who isn't root becomes root with sudo", examples=[True]
    )
    variables: dict[str, Any] = Field(
        default_factory=dict,
        description="this host's variables of the play",
        examples=[{"role": "web"}],
        repr=False,
    )


class _Defaults(_Login):
    jump: _Place | None = Field(default=None, description="the host to go through")
    sudo: Bool | None = Field(
        default=None, description="whether a user who isn't root becomes root with sudo", examples=[True]
    )
    variables: dict[str, Any] = Field(
        default_factory=dict, description="variables of the play for all hosts", examples=[{}], repr=False
    )


class _Inventory(Section):
    defaults: _Defaults = Field(default=_Defaults(), description="what holds for all hosts", examples=[{}])
    known_hosts_file: Str | None = Field(
        default=None,
        description="a known_hosts file with the keys of the hosts that list none",
        examples=["~/.ssh/known_hosts"],
    )
    hosts: dict[Str, _Host] = Field(
        default_factory=dict, description="the hosts by name", examples=[{"web-0": {"address": "10.0.0.5"}}]
    )


def read_inventory(file: Path, variables: Variables | None) -> tuple[list[Host[Any]], list[Problem]]:
    """The hosts that can be used, in their written order, and everything that is wrong with the others.

    Without ``variables`` (the play itself can't be used) no host comes back, and the rest is still examined.
    """
    try:
        raw = _load(file)
    except _Unreadable as unreadable:
        return [], list(unreadable.problems)
    inventory, problems, faulty = _typed(raw, file)
    if not raw.get("hosts") and "hosts" not in faulty:
        problems.append(Problem("hosts", "has no host", f"Give {file} at least one: hosts: {{NAME: {{…}}}}."))
    reader = _Reader(file, inventory, faulty)
    hosts: list[Host[Any]] = []
    for name, settings in inventory.hosts.items():
        path = f"hosts.{name}"
        target = reader.target(name, path, settings)
        if variables and not faulty.intersection({f"{path}.variables", "defaults.variables"}):
            value, wrong = variables.read(settings.variables, path, inventory.defaults.variables)
            problems += wrong
            if target and not wrong:
                hosts.append(Host(target, value))
    return hosts, list(dict.fromkeys([*problems, *reader.problems]))


def _typed(raw: Mapping[str, object], file: Path) -> tuple[_Inventory, list[Problem], set[str]]:
    """The settings without those that are wrong, the problems of these, and their paths."""
    try:
        return _Inventory.model_validate(raw), [], set()
    except ValidationError as refused:
        errors = refused.errors(include_url=False)
    problems = [
        problem_of(
            error,
            _Inventory,
            owner="an inventory",
            file=str(file),
            # variables may be secret, wherever they were written by mistake
            shown=kind_of if "variables" in error["loc"] or isinstance(error["input"], dict | list) else repr,
        )
        for error in errors
    ]
    places = [_place(error) for error in errors]
    return _Inventory.model_validate(without(raw, places)), problems, {path_of(place) for place in places}


def _place(error: ErrorDetails) -> tuple[int | str, ...]:
    """The setting to do without: a key that is no text, or all that is a list where one item is wrong."""
    location = error["loc"]
    if error["type"] == "invalid_key":
        return location
    if location[-1] == "[key]":
        return location[:-1]
    return tuple(takewhile(lambda part: isinstance(part, str), location))


class _Unreadable(Exception):  # noqa: N818 - what is to be said of the file, on its way out
    def __init__(self, *problems: Problem) -> None:
        self.problems = problems
        super().__init__()


def _load(file: Path) -> Mapping[str, object]:
    """The YAML document; its texts may be secret, so no error shows one."""
    try:
        loader = yaml.SafeLoader(file.read_text(encoding="utf-8"))
        node = loader.get_single_node()
        twice = list(_twice(node, set()))
        if twice:
            raise _Unreadable(*(Problem(f"{file}:{line}", what, "Remove one.") for line, what in twice))
        raw = loader.construct_document(node) if node else None
    except OSError as error:
        raise _Unreadable(
            Problem("--hosts", f"{file} can't be read: {error.strerror}", "Name a YAML file of hosts.")
        ) from error
    except UnicodeDecodeError as error:
        raise _Unreadable(Problem(str(file), "is no UTF-8 text", "Name a YAML file of hosts.")) from error
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        raise _Unreadable(
            Problem(f"{file}{line}", f"is no YAML: {error.problem}", "Correct it there.")
        ) from None
    except (yaml.YAMLError, ValueError) as error:  # such as the 13th month
        raise _Unreadable(Problem(str(file), "is no YAML", "Correct it there.")) from error
    if not isinstance(raw, Mapping):
        raise _Unreadable(Problem(str(file), "holds no mapping", "Give it `hosts:`, a mapping by name."))
    return raw


def _twice(node: yaml.Node | None, seen: set[int]) -> Iterator[tuple[int, str]]:
    """The keys that a mapping has twice, with their lines: YAML would keep the last and lose the others."""
    if node is None or id(node) in seen:
        return
    seen.add(id(node))
    if isinstance(node, yaml.SequenceNode):
        for item in node.value:
            yield from _twice(item, seen)
    if isinstance(node, yaml.MappingNode):
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        for index, (key, value) in enumerate(node.value):
            if isinstance(key, yaml.ScalarNode) and key.value in keys[:index]:
                yield key.start_mark.line + 1, f"`{key.value}` stands there twice"
            yield from _twice(value, seen)


class _Reader:
    """Leads from settings to hosts, and collects what is wrong on the way."""

    def __init__(self, file: Path, inventory: _Inventory, faulty: set[str]) -> None:
        self.problems: list[Problem] = []
        self._file = file
        self._defaults = inventory.defaults
        self._faulty = faulty
        self._keys: dict[Path, str | None] = {}
        self._known: KnownHosts | None = None
        if inventory.known_hosts_file:
            self._known, problems = read_known_hosts(self._path(inventory.known_hosts_file))
            self.problems += problems
        # what could not be read is told once, and not again with each host
        self._knows_hosts = not self.problems and "knownHostsFile" not in faulty

    def target(self, name: str, path: str, host: _Host) -> Target | None:
        """Where and how to log in; None when something is wrong with that."""
        jump, jump_path = host.jump, f"{path}.jump"
        if "jump" not in host.model_fields_set:
            jump, jump_path = self._defaults.jump, "defaults.jump"
        port = host.port or self._defaults.port or SSH_PORT
        sudo = next((given for given in (host.sudo, self._defaults.sudo) if given is not None), True)
        return self._target(name, path, host, port=port, sudo=sudo, jump=jump, jump_path=jump_path)

    def _jump(self, path: str, place: _Place) -> Target | None:
        """A jump host takes the defaults' user and key, but not their port, and never sudo."""
        name = f"jump host {place.address}"
        port = place.port or SSH_PORT
        return self._target(
            name, path, place, port=port, sudo=False, jump=place.jump, jump_path=f"{path}.jump"
        )

    def _target(
        self,
        name: str,
        path: str,
        place: _Place,
        *,
        port: int,
        sudo: bool,
        jump: _Place | None,
        jump_path: str,
    ) -> Target | None:
        address, _ = self._setting("address", path, place)
        user, _ = self._setting("user", path, place, self._defaults)
        key_file, key_path = self._setting("private_key_file", path, place, self._defaults)
        key = self._private_key(key_file, key_path) if key_file else None
        through = self._jump(jump_path, jump) if jump else None
        host_keys = place.host_keys or (self._known_keys(address, port, path) if address else ())
        if not (address and user and key and host_keys) or (jump and not through):
            return None
        return Target(name, address, user, key, host_keys, port=port, jump=through, sudo=sudo)

    def _setting(self, name: str, path: str, *sections: Section) -> tuple[str | None, str]:
        """The first section's value that is given, and its path; the last section is the defaults."""
        alias = to_camel(name)
        paths = [f"{path}.{alias}", f"defaults.{alias}"][: len(sections)]
        for section, where in zip(sections, paths, strict=True):
            value = getattr(section, name)
            if value is not None:
                return str(value), where
        if not self._faulty.intersection(paths):
            description = type(sections[0]).model_fields[name].description
            self.problems.append(
                Problem(paths[0], "is missing", f"Set {' or '.join(paths)} to {description}.")
            )
        return None, paths[0]

    def _private_key(self, file: str, path: str) -> str | None:
        if "\n" in file or "PRIVATE KEY" in file:
            remedy = "Keep the key in a file of its own, and name that."
            self.problems.append(Problem(path, "holds a key itself, not the path of one", remedy))
            return None
        place = self._path(file)
        if place not in self._keys:
            try:
                self._keys[place] = read_private_key(place)
            except BadKey as bad:
                self.problems.append(Problem(path, f"{place} {bad.what}", bad.remedy))
                self._keys[place] = None
        return self._keys[place]

    def _known_keys(self, address: str, port: int, path: str) -> tuple[str, ...]:
        found = self._known.keys_of(address, port) if self._known else ()
        if not found and self._knows_hosts and f"{path}.hostKeys" not in self._faulty:
            where = "knownHostsFile" if self._known else "a knownHostsFile"
            self.problems.append(
                Problem(
                    f"{path}.hostKeys",
                    f"no host key of {known_name(address, port)} is known",
                    f"Set it, or put the key into {where}; take it from where it is known for sure "
                    "(the host's console, /etc/ssh/ssh_host_*_key.pub), not from whoever answers.",
                )
            )
        return found

    def _path(self, text: str) -> Path:
        """Relative to the inventory, as everything that is written in it."""
        return self._file.parent / Path(text).expanduser()
