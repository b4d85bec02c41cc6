"""Actions as data: what a plan is made of."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Union

try:
    from _json import encode_basestring_ascii as _quoted  # that which json itself uses
except ImportError:
    from json import dumps as _quoted

MASK = "********"
GONE = 75
"""The exit code of an agent whose controller went away, or that the host ended."""
TAIL_CHARACTERS = 4000
"""How much of a command's output is told at most, be it in one line."""


class Refused(Exception):  # noqa: N818 - a decision, not a fault
    """No plan can be made from these facts: what stands against it and the way out."""


class Run(NamedTuple):
    """A command in its own process group; ``argv`` is never parsed by a shell."""

    argv: tuple[str, ...]
    ok_codes: tuple[int, ...] = (0,)
    deadline_s: float = 60
    environment: Mapping[str, str] = {}
    stdin: str | None = None
    progress: bool = False
    lock_timeout_s: float = 0
    """How long the command is tried again while it fails because another one holds apt's lock."""
    unit: str = ""
    """The systemd unit whose journal tells why the command failed."""
    retries: int = 0
    """How often it is run again after an exit code that is not allowed."""
    retry_delay_s: float = 5
    directory: str = "/"
    user: str | None = None
    """Who runs it; None: who we are."""
    tolerated: bool = False
    """That it fails is no failure."""


class WriteFile(NamedTuple):
    path: str
    content: bytes
    mode: int
    owner: str
    group: str


class Receive(NamedTuple):
    """Take a file's content from the controller."""

    path: str
    size_bytes: int
    sha256: str
    mode: int
    owner: str
    group: str


class Fetch(NamedTuple):
    """Take a file's content from a URL."""

    url: str
    path: str
    sha256: str
    mode: int
    owner: str
    group: str
    connections: int
    deadline_s: float


class SetAttributes(NamedTuple):
    path: str
    mode: int
    owner: str
    group: str


class MakeDirectory(NamedTuple):
    path: str
    mode: int = 0o755
    owner: str = "root"
    group: str = "root"


class MakeLink(NamedTuple):
    path: str
    target: str


class Remove(NamedTuple):
    path: str


class SetKernel(NamedTuple):
    """Write a value under /proc/sys."""

    key: str
    value: str
    tolerated: bool
    """That the kernel refuses is no failure."""


class AwaitUnit(NamedTuple):
    """Until systemd calls the unit active; one that failed ends the wait, with its last journal lines."""

    unit: str
    deadline_s: float


class AwaitPort(NamedTuple):
    address: str
    port: int
    deadline_s: float


class AwaitPath(NamedTuple):
    path: str
    deadline_s: float


class AwaitUrl(NamedTuple):
    """Until HTTP answers with the status; None: any from 200 to 399."""

    url: str
    status: int | None
    deadline_s: float


class EndBoot(NamedTuple):
    """Have the host boot anew, which ends whoever asks for it."""

    deadline_s: float


Action = Union[  # noqa: UP007 - evaluated, and Python 3.8 has no X | Y
    Run,
    WriteFile,
    Receive,
    Fetch,
    SetAttributes,
    MakeDirectory,
    MakeLink,
    Remove,
    SetKernel,
    AwaitUnit,
    AwaitPort,
    AwaitPath,
    AwaitUrl,
    EndBoot,
]


class Plan(NamedTuple):
    """The actions that lead to the wanted state; none means that it is there already, and ``why`` says so."""

    actions: tuple[Action, ...] = ()
    why: str = ""
    diff: str = ""
    skipped: bool = False
    """Not all is as wanted, and that is tolerated: ``why`` says what was left out."""
    changes: bool = True
    """False: the actions only wait, and leave the host as it was."""
    happened: bool = False
    """What was planned has happened before this run: it counts as a change of this one."""
    ends_boot: str = ""
    """The id of the boot that the actions end, and this run with it."""
    again: bool = False
    """The actions bring facts to light that the rest of the plan depends on: read them and plan once more."""


def nothing(why: str) -> Plan:
    return Plan(why=why)


class Completed(NamedTuple):
    """A finished command; outputs hold only their last part. ``exit_code`` None: killed at its deadline."""

    exit_code: int | None
    stdout: str
    stderr: str
    duration_s: float

    @property
    def last_lines(self) -> str:
        text = self.stderr.strip() or self.stdout.strip()
        return "\n".join(text.splitlines()[-20:])[-TAIL_CHARACTERS:]


class ActionFailed(Exception):  # noqa: N818 - the counterpart of Refused
    """An action that failed: the command or deed, its exit code if it had one, its last lines."""

    def __init__(self, deed: str, exit_code: int | None, last_lines: str) -> None:
        self.deed, self.exit_code, self.last_lines = deed, exit_code, last_lines
        super().__init__(deed)


class Tolerated(Exception):  # noqa: N818 - no fault at all
    """An action that the host refused, which its operation allows; the text says what was left out."""


class ControllerGone(BaseException):
    """The channel dropped or a signal came: stop at once, leave nothing running."""


class ControllerSilent(ControllerGone):
    """The channel is there, but for so many seconds nothing came over it."""

    def __init__(self, silence_s: float) -> None:
        self.silence_s = silence_s
        super().__init__(silence_s)


def json_line(values: Mapping[str, Any]) -> bytes:
    """A flat object with plain names; ``json`` would take longer to load than a run without changes takes."""
    return ("{" + ", ".join([f'"{name}": {_json(value)}' for name, value in values.items()]) + "}\n").encode()


def _json(value: Any) -> str:
    if isinstance(value, str):
        return str(_quoted(value))
    if value is None:
        return "null"
    return repr(value).lower() if isinstance(value, bool) else repr(value)
