"""What a host should be: plain data, the same on the controller and in the agent on the host.

Every operation is idempotent and has a ``title`` for display. This module travels to the host, so it needs
nothing but Python 3.8's standard library.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Union


@dataclass(frozen=True)
class File:
    """A regular file with exactly this content (str is UTF-8), mode and owner; replaced atomically.

    ``secret`` keeps the content out of diffs, outputs and ``repr``; name a mode such as 0o600 yourself.
    """

    path: str
    content: str | bytes = field(repr=False)
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    secret: bool = False

    @property
    def title(self) -> str:
        return f"file {self.path}"

    @property
    def data(self) -> bytes:
        return self.content.encode() if isinstance(self.content, str) else self.content


@dataclass(frozen=True)
class Upload:
    """A regular file with the content of ``source``, a file of any size here; replaced atomically.

    What arrived of one that was cut off is kept under ``.NAME.ansible_like.part`` beside it, and the next run
    goes on from there; a full disk is given back at once.
    """

    path: str
    source: str
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    size_bytes: int = 0
    """Of the source, as ``sha256`` too: filled in when a run begins."""
    sha256: str = ""

    @property
    def title(self) -> str:
        return f"upload {self.path}"


@dataclass(frozen=True)
class Download:
    """A regular file with the content behind an HTTP(S) URL, known by its sha256 (hex); replaced atomically.

    Where the server gives parts of it, over so many ``connections`` at once. What arrived of one that was cut
    off is kept beside it under ``.NAME.ansible_like.part`` and ``.map``, and the next run goes on from there;
    a full disk is given back at once. Trouble of the network and of the server (its codes from 500 on, and
    429) is waited out until ``deadline_s``. Proxies are taken from the host's environment; user, password and
    query of the URL are secret.
    """

    url: str = field(repr=False)
    path: str
    sha256: str
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    connections: int = 4
    deadline_s: float = 3600

    @property
    def title(self) -> str:
        return f"download {self.path}"


@dataclass(frozen=True)
class Directory:
    """A directory with this mode and owner; missing parents are made with mode 0755, owned by root."""

    path: str
    mode: int = 0o755
    owner: str = "root"
    group: str = "root"

    @property
    def title(self) -> str:
        return f"directory {self.path}"


@dataclass(frozen=True)
class Absent:
    """Nothing at this path; a directory goes with all that is in it."""

    path: str

    @property
    def title(self) -> str:
        return f"absent {self.path}"


@dataclass(frozen=True)
class Link:
    """A symbolic link at ``path`` that points to ``target``; a file or a full directory there is refused."""

    path: str
    target: str

    @property
    def title(self) -> str:
        return f"link {self.path}"


@dataclass(frozen=True)
class Package:
    """Debian packages, installed (``name`` or ``name=version``); waits for apt's locks, never kills."""

    names: tuple[str, ...]
    lock_timeout_s: int = 600

    @property
    def title(self) -> str:
        return f"packages {' '.join(self.names)}"


@dataclass(frozen=True)
class Repository:
    """A Debian source of packages, trusted by its ``key`` (armored or binary) alone, its lists fetched.

    A suite that ends with ``/`` is a folder of packages and has no components.
    """

    name: str
    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]
    key: str | bytes = field(repr=False)
    architectures: tuple[str, ...] = ()
    lock_timeout_s: int = 600

    @property
    def path(self) -> str:
        return f"/etc/apt/sources.list.d/{self.name}.sources"

    @property
    def key_data(self) -> bytes:
        return self.key.encode() if isinstance(self.key, str) else self.key

    @property
    def key_path(self) -> str:
        # apt tells the two forms by their names
        kind = "asc" if self.key_data.startswith(b"-----") else "gpg"
        return f"/etc/apt/keyrings/{self.name}.{kind}"

    @property
    def title(self) -> str:
        return f"repository {self.name}"


@dataclass(frozen=True)
class Group:
    """A system group that exists."""

    name: str

    @property
    def title(self) -> str:
        return f"group {self.name}"


@dataclass(frozen=True)
class User:
    """A user with this home and shell, in at least these groups; a system user's home isn't made."""

    name: str
    home: str
    shell: str
    system: bool = True
    groups: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return f"user {self.name}"


@dataclass(frozen=True)
class Sysctl:
    """Kernel settings, now and at every boot.

    ``tolerate_missing``: a key that this kernel does not have or does not let us write (a container) is
    reported as skipped instead of failed.
    """

    settings: Mapping[str, str]
    path: str = "/etc/sysctl.d/60-ansible-like.conf"
    tolerate_missing: bool = False

    @property
    def title(self) -> str:
        return f"sysctl {self.path}"


@dataclass(frozen=True)
class LineInFile:
    """One line that a file has once, or not at all; the file is there already, its mode and owner stay.

    ``replaces``: a regular expression (``re.search``) of the lines in whose place it stands; all of them go.
    ``secret`` keeps the lines out of titles, diffs, outputs and ``repr``.
    """

    path: str
    line: str = field(repr=False)
    present: bool = True
    replaces: str | None = None
    secret: bool = False

    @property
    def title(self) -> str:
        return f"line in {self.path}: {(self.replaces or 'a secret') if self.secret else self.line}"


@dataclass(frozen=True)
class AuthorizedKey:
    """A line of the user's ~/.ssh/authorized_keys, known by its key and options, whatever its comment."""

    user: str
    key: str
    present: bool = True

    @property
    def title(self) -> str:
        words = [word for word in self.key.split() if not word.startswith("AAAA")]
        blob = next((word for word in self.key.split() if word.startswith("AAAA")), "")
        return f"authorized key of {self.user}: {' '.join([*words[-2:], '…' + blob[-8:]])}"


@dataclass(frozen=True)
class KernelModule:
    """A kernel module, loaded now and at every boot.

    ``tolerate_missing``: one that this kernel does not have or does not let us load (a container) is reported
    as skipped instead of failed.
    """

    name: str
    tolerate_missing: bool = False

    @property
    def path(self) -> str:
        return f"/etc/modules-load.d/{self.name}.conf"

    @property
    def title(self) -> str:
        return f"kernel module {self.name}"


@dataclass(frozen=True)
class Limits:
    """Lines of /etc/security/limits.d/NAME.conf, such as ``* soft nofile 65536``; for later logins."""

    name: str
    lines: tuple[str, ...]

    @property
    def path(self) -> str:
        return f"/etc/security/limits.d/{self.name}.conf"

    @property
    def title(self) -> str:
        return f"limits {self.name}"


@dataclass(frozen=True)
class Service:
    """A systemd unit that runs and starts at boot, or not (None: as it is).

    ``restart_when_changed`` names earlier operations by title, path or unit: a running unit is restarted when
    one of them changed, also when the run that changed it was killed before it came to this unit.
    """

    unit: str
    running: bool | None = None
    enabled: bool | None = None
    restart_when_changed: tuple[str, ...] = ()
    deadline_s: float = 60

    @property
    def title(self) -> str:
        return f"service {self.unit}"


@dataclass(frozen=True)
class Mount:
    """A block device mounted at ``path``, now and at every boot.

    A blank device is formatted when ``format_when_blank``; one that holds anything else is never touched.
    """

    device: str
    path: str
    filesystem: str
    options: str = "defaults"
    format_when_blank: bool = True

    @property
    def title(self) -> str:
        return f"mount {self.path}"


@dataclass(frozen=True)
class InstanceStore:
    """Ephemeral disks as one filesystem at ``path``: RAID 0 over several (needs mdadm)."""

    devices: tuple[str, ...]
    path: str
    filesystem: str = "xfs"

    @property
    def title(self) -> str:
        return f"instance store {self.path}"


@dataclass(frozen=True)
class Command:
    """A command (a str goes to ``/bin/sh -c``), run unless a guard says that it is done.

    Guards: ``creates`` (a path that exists), ``unless`` (a command that exits 0; it also runs in check mode,
    so let it only read), ``when_changed`` (runs only if one of these earlier operations changed).
    ``progress``: each line of stdout that starts with ``PROGRESS `` becomes a progress event.
    ``secret_stdin`` is given on stdin and masked in all output. What the command leaves running is killed.
    ``retries``: how often it is run again, ``retry_delay_s`` apart, while its exit code is not allowed; a run
    that was killed at ``deadline_s`` is not repeated.
    ``user`` and ``directory`` hold for the guard too; only root may run it as another user.
    """

    argv: tuple[str, ...] | str
    creates: str | None = None
    unless: tuple[str, ...] | str | None = None
    ok_codes: tuple[int, ...] = (0,)
    deadline_s: float = 600
    environment: Mapping[str, str] = field(default_factory=dict)
    progress: bool = False
    when_changed: tuple[str, ...] = ()
    secret_stdin: str | None = field(default=None, repr=False)
    retries: int = 0
    retry_delay_s: float = 5
    directory: str = "/"
    user: str | None = None
    name: str = ""
    """What the title says in place of the command's first line."""

    @property
    def title(self) -> str:
        if self.name:
            return f"command {self.name}"
        text = self.argv if isinstance(self.argv, str) else " ".join(shlex.quote(word) for word in self.argv)
        first_line = text.strip().split("\n")[0]
        return "command " + (first_line if len(first_line) <= 72 else first_line[:71] + "…")


@dataclass(frozen=True)
class WaitFor:
    """Waits until a TCP port listens, a path exists, a unit is active and a URL answers (all that are given).

    The URL has answered when its HTTP status is ``status``, or where that is None any from 200 to 399.
    """

    port: int | None = None
    address: str = "127.0.0.1"
    path: str | None = None
    unit: str | None = None
    url: str | None = field(default=None, repr=False)
    status: int | None = None
    deadline_s: float = 60

    @property
    def title(self) -> str:
        url = f"url {masked_url(self.url)}" if self.url else None
        port = f"port {self.address}:{self.port}" if self.port is not None else None
        path = f"path {self.path}" if self.path else None
        unit = f"unit {self.unit}" if self.unit else None
        return "wait for " + ", ".join(what for what in (port, path, unit, url) if what)


@dataclass(frozen=True)
class Reboot:
    """Boots the host anew and goes on with the next step, once one of the named operations changed.

    Also where /run/reboot-required says that a package needs it. ``deadline_s``: until SSH answers again.
    """

    when_changed: tuple[str, ...] = ()
    deadline_s: float = 600
    name: str = ""
    """Tells several of one play apart."""

    @property
    def title(self) -> str:
        return f"reboot {self.name}".strip()


Operation = Union[  # noqa: UP007 - evaluated, and Python 3.8 has no X | Y
    File,
    Upload,
    Download,
    Directory,
    Absent,
    Link,
    Package,
    Repository,
    Group,
    User,
    Sysctl,
    LineInFile,
    AuthorizedKey,
    KernelModule,
    Limits,
    Service,
    Mount,
    InstanceStore,
    Command,
    WaitFor,
    Reboot,
]

KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        File,
        Upload,
        Download,
        Directory,
        Absent,
        Link,
        Package,
        Repository,
        Group,
        User,
        Sysctl,
        LineInFile,
        AuthorizedKey,
        KernelModule,
        Limits,
        Service,
        Mount,
        InstanceStore,
        Command,
        WaitFor,
        Reboot,
    )
}


def names_of(operation: Operation) -> tuple[str, ...]:
    """What a later operation may call this one by: its title, its path, its unit."""
    called = (getattr(operation, "path", None), getattr(operation, "unit", None))
    return (operation.title, *(name for name in called if name))


def masked_url(url: str) -> str:
    """Without what may be secret in it: user and password, query and fragment."""
    scheme, separator, rest = url.partition("://")
    place = rest.replace("#", "?").partition("?")[0]
    authority, slash, path = place.partition("/")
    more = "?…" if len(place) < len(rest) else ""
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}{more}"


def secrets_of(operation: Operation) -> tuple[str, ...]:
    """The texts of it that must not come back from the host."""
    if isinstance(operation, Command):
        return (operation.secret_stdin,) if operation.secret_stdin else ()
    if isinstance(operation, (WaitFor, Download)) and operation.url:
        rest = operation.url.partition("://")[2]
        user = rest.partition("/")[0].rpartition("@")[0]
        return (user, user.partition(":")[2], rest.partition("?")[2])
    if isinstance(operation, LineInFile) and operation.secret:
        return (operation.line,)
    return (
        (operation.data.decode("utf-8", "replace"),)
        if isinstance(operation, File) and operation.secret
        else ()
    )


def references_of(operation: Operation) -> tuple[str, ...]:
    """The earlier operations whose change this one acts on."""
    if isinstance(operation, Service):
        return operation.restart_when_changed
    return operation.when_changed if isinstance(operation, (Command, Reboot)) else ()


def encode(operation: Operation) -> tuple[Any, ...]:
    """The operation as it is sent: its kind and its fields in order, of types that ``marshal`` knows."""
    values = (getattr(operation, each.name) for each in dataclasses.fields(operation))
    return (type(operation).__name__, *map(_plain, values))


def decode(wire: tuple[Any, ...]) -> Operation:
    """The operation that ``encode`` made this of."""
    operation: Operation = KINDS[wire[0]](*wire[1:])
    return operation


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    return tuple(value) if isinstance(value, list) else value
