"""One SSH connection to one host, whose key is known before anything is sent."""

from __future__ import annotations

import contextlib
import io
import logging
import select
import shlex
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from tenacity import (
    Retrying,
    retry_if_exception_type,
    sleep_using_event,
    stop_before_delay,
    stop_when_event_set,
    wait_exponential,
)

from ansible_like.agent.values import MASK
from ansible_like.elevation import WITHOUT_PASSWORD, PasswordExchange
from ansible_like.jumps import Jumps, Turn
from ansible_like.lean import paramiko
from ansible_like.result import (
    AuthenticationRefused,
    BadPrivateKey,
    CommandFailed,
    ConnectionLost,
    EngineError,
    HostKeyMismatch,
    SudoRefused,
    Unreachable,
)

if TYPE_CHECKING:
    from ansible_like.express import Express
    from ansible_like.transport import Transport

ATTEMPT_S: Final = 10.0
KEEPALIVE_S: Final = 15
SILENCE_S: Final = 60  # how long sent data may stay unacknowledged before the connection counts as dead
LAST_LINES: Final = 20
RECEIVE_BYTES: Final = 65536
WINDOW_BYTES: Final = 8 << 20
# what costs least first: the authenticated cipher needs no second pass for its MAC
CIPHERS: Final = ("aes128-gcm@openssh.com", "aes256-gcm@openssh.com", "aes128-ctr", "aes256-ctr")

# a library is silent unless its user listens: paramiko would print a traceback for each refused attempt
logging.getLogger("ansible_like").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Target:
    """A host to work on, and the keys that it may show (``ssh-ed25519 AAAA…``); any other is refused."""

    name: str
    address: str
    user: str
    private_key: str = field(repr=False)
    host_keys: tuple[str, ...]
    port: int = 22
    jump: Target | None = None
    sudo: bool = True
    sudo_password: str | None = field(default=None, repr=False)
    """What sudo is answered when it asks; None: it must not ask."""

    def masked(self, text: str) -> str:
        """The text without the password that is in no log, exception or event."""
        return text.replace(self.sudo_password, MASK) if self.sudo_password else text


@dataclass(frozen=True)
class CommandResult:
    """How a command ended; undecodable output bytes are replaced."""

    exit_code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Start:
    """A command that is the first thing to do on a connection, and what it reads first."""

    words: Sequence[str]
    stdin: bytes
    sudo: bool


class _NotYet(Exception):  # noqa: N818 - a state that passes, not an error
    """SSH is not ready; try again."""

    def __init__(self, why: str, refused: bool = False, express: bool = False) -> None:
        self.why, self.refused, self.express = why, refused, express
        super().__init__(why)


class Connection:
    """An open connection; use it as a context manager."""

    def __init__(
        self,
        target: Target,
        transport: paramiko.Transport,
        jump: Connection | None,
        *,
        own: contextlib.ExitStack,
        turn: Turn,
        express: Express | None = None,
    ) -> None:
        self.target = target
        self._transport = transport
        self._jump = jump
        self._own = own
        self._turn = turn
        self._express = express

    @classmethod
    def open(
        cls,
        target: Target,
        deadline_s: float,
        cancelled: threading.Event | None = None,
        jumps: Jumps | None = None,
        start: Start | None = None,
    ) -> Connection:
        """Connect, trying again until the deadline: hosts boot, and cloud-init puts the key in place late.

        ``start`` is sent along with the login where the host's sshd takes that, to the known host alone;
        ``started`` gives its channel.
        ``jumps`` are shared with other connections, and stay open for them; without, it has its own.
        Raises HostKeyMismatch at once, Unreachable or AuthenticationRefused at the deadline or when
        ``cancelled`` is set; all three for a jump host too, by its name.
        """
        cancelled = cancelled or threading.Event()
        until = time.monotonic() + deadline_s
        own = contextlib.ExitStack()
        jumps = jumps or own.enter_context(Jumps())
        early = start if start and not _needs_password(target, start.sudo) else None

        def open_jump(jump: Target) -> Connection:
            return cls.open(jump, max(0.0, until - time.monotonic()), cancelled, jumps)

        def attempt() -> Connection:
            nonlocal early
            jump = jumps.connection(target.jump, open_jump) if target.jump else None
            turn = jumps.turn(target, max(0.0, until - time.monotonic()))
            if not turn:
                raise _NotYet("others were still at their handshakes with it")
            with contextlib.ExitStack() as failed:
                failed.callback(turn.end)
                if cancelled.is_set():
                    raise _NotYet("the caller ended it")
                try:
                    transport, express = _attempt(target, jump, until, early)
                except _NotYet as not_yet:
                    early = None if not_yet.express else early
                    raise
                failed.pop_all()
            if express:
                turn.end()
            return cls(target, transport, jump, own=own, turn=turn, express=express)

        attempts = Retrying(
            stop=stop_before_delay(max(0.0, until - time.monotonic())) | stop_when_event_set(cancelled),
            sleep=sleep_using_event(cancelled),
            wait=wait_exponential(multiplier=0.25, max=3),
            retry=retry_if_exception_type(_NotYet),
            reraise=True,
        )
        try:
            return attempts(attempt)
        except _NotYet as last:
            own.close()
            raise _gave_up(target, last, deadline_s) from last
        except BaseException:
            own.close()
            raise

    def run(
        self,
        argv: Sequence[str] | str,
        *,
        sudo: bool = False,
        stdin: bytes | None = None,
        ok_codes: Sequence[int] = (0,),
        deadline_s: float = 60,
    ) -> CommandResult:
        """Run a command; a str goes through the host's ``sh``. The host itself ends it at the deadline.

        Raises CommandFailed for any exit code that isn't in ``ok_codes`` and at the deadline, ConnectionLost,
        and SudoRefused where a password for sudo was given and did not help.
        """
        words = ["sh", "-c", argv] if isinstance(argv, str) else list(argv)
        shown = argv if isinstance(argv, str) else shlex.join(argv)
        # the host's own timeout ends the command also when this side is gone and can't
        words = ["timeout", "--kill-after=5", f"{deadline_s:g}", *words]
        with self.channel(words, sudo=sudo) as channel:
            began = time.monotonic()
            collected = _Collected()
            finished = _converse(channel, stdin or b"", collected, began + deadline_s + 10)
            code = channel.recv_exit_status() if finished else None
        result = CommandResult(code if code is not None else -1, collected.stdout(), collected.stderr())
        last = self.target.masked(_last_lines(result))
        if not finished or (code in (124, 137) and time.monotonic() - began >= deadline_s):
            ending = f"did not end within {deadline_s:g} s and was killed"
            raise CommandFailed(self.target.name, shown, None, last, ending)
        if code == -1:
            raise self.lost(f"`{shown}` was running")
        if code not in ok_codes:
            raise CommandFailed(self.target.name, shown, code, last, f"ended with exit code {code}")
        return result

    @contextlib.contextmanager
    def channel(self, words: Sequence[str], *, sudo: bool) -> Iterator[paramiko.Channel]:
        """A channel on which the command was started, as root where ``sudo`` says so and we are not yet.

        Raises ConnectionLost, SudoRefused.
        """
        exchange: PasswordExchange | None = None
        if not _needs_password(self.target, sudo):
            words = _without_password(self.target, words, sudo)
        elif "\n" in (password := self.target.sudo_password or ""):
            raise sudo_refused(self.target, "the password for sudo has more than one line")
        else:
            exchange = PasswordExchange(password)
            words = exchange.command(words)
        try:
            channel = self._channel("session", None, ATTEMPT_S)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self.lost("a channel was opened", error) from error
        with _closing(channel):
            try:
                channel.exec_command(shlex.join(words))
            except (paramiko.SSHException, OSError, EOFError) as error:
                raise self.lost("a command was started", error) from error
            if exchange and (refusal := exchange.lead(channel)):
                if self.is_lost():
                    raise self.lost("sudo was to start a command")
                raise sudo_refused(self.target, refusal)
            yield channel

    @contextlib.contextmanager
    def started(self, start: Start) -> Iterator[paramiko.Channel]:
        """The channel of the command that the connection was opened for, its input sent.

        Raises ConnectionLost, SudoRefused.
        """
        express, self._express = self._express, None
        if not express:
            with self.channel(start.words, sudo=start.sudo) as channel:
                # a program that could not start closes the channel under our hands, and says why on stderr
                with contextlib.suppress(OSError):
                    channel.sendall(start.stdin)
                yield channel
            return
        try:
            channel = express.channel(ATTEMPT_S)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise self.lost("a command was started", error) from error
        with _closing(channel):
            yield channel

    def through(self, place: tuple[str, int], limit_s: float) -> paramiko.Channel:
        """A channel to a place as this host sees it. Raises paramiko's errors."""
        return self._channel("direct-tcpip", place, limit_s)

    def _channel(self, kind: str, place: tuple[str, int] | None, limit_s: float) -> paramiko.Channel:
        here = ("127.0.0.1", 0) if place else None
        channel = self._transport.open_channel(kind, place, here, window_size=WINDOW_BYTES, timeout=limit_s)
        # only now sshd has surely counted us off: it answers the log-in a little earlier
        self._turn.end()
        return channel

    def lost(self, moment: str, why: BaseException | str = "") -> ConnectionLost:
        why = f" ({why if isinstance(why, str) else _reason(why)})" if why else ""
        jump = self._lost_jump()
        which, who = (f" to the jump host {jump.name}", jump.name) if jump else ("", "the host")
        return ConnectionLost(
            self.target.name,
            f"the connection{which} ended when {moment}{why}",
            f"see whether {who} is up, and run again: it goes on where it stopped",
        )

    def _lost_jump(self) -> Target | None:
        """The first host on the way here whose connection has ended."""
        if not self._jump:
            return None
        return self._jump._lost_jump() or (self._jump.target if self._jump.is_lost() else None)

    def is_lost(self) -> bool:
        """Whether the connection itself has ended; one that is just ending gets a moment to have done so."""
        self._transport.join(1)
        return self.has_ended()

    def has_ended(self) -> bool:
        return not self._transport.is_active()

    def close(self) -> None:
        _close(self._transport)
        self._turn.end()
        self._own.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextlib.contextmanager
def _closing(channel: paramiko.Channel) -> Iterator[None]:
    try:
        yield
    finally:
        _close(channel)


def _close(what: paramiko.Transport | paramiko.Channel | socket.socket) -> None:
    """Close it; behind a jump host that was lost nobody can be told of the end any more."""
    with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
        what.close()


class _Collected:
    def __init__(self) -> None:
        self.outputs: tuple[list[bytes], list[bytes]] = ([], [])

    def stdout(self) -> str:
        return b"".join(self.outputs[0]).decode("utf-8", "replace")

    def stderr(self) -> str:
        return b"".join(self.outputs[1]).decode("utf-8", "replace")

    def take(self, channel: paramiko.Channel) -> None:
        """Everything that has come on both outputs."""
        while channel.recv_ready():
            self.outputs[0].append(channel.recv(RECEIVE_BYTES))
        while channel.recv_stderr_ready():
            self.outputs[1].append(channel.recv_stderr(RECEIVE_BYTES))


def _converse(channel: paramiko.Channel, stdin: bytes, collected: _Collected, until: float) -> bool:
    """Give the command its stdin and take its output until it has ended; False when the time ran out."""
    poll = select.poll()
    poll.register(channel.fileno(), select.POLLIN)
    sent = 0
    while True:
        collected.take(channel)
        if sent < len(stdin) and channel.send_ready():
            sent += _send(channel, stdin[sent : sent + RECEIVE_BYTES]) or len(stdin)
        if sent >= len(stdin) and not channel.eof_sent:
            _send(channel, None)
        if channel.eof_received or channel.closed:
            break
        left_s = until - time.monotonic()
        if left_s <= 0:
            return False
        # that the host can take more stdin wakes nobody, so this is looked at now and then
        poll.poll(left_s * 1000 if sent >= len(stdin) else 0 if channel.send_ready() else 10)
    ended = channel.status_event.wait(max(0.0, until - time.monotonic()))
    collected.take(channel)
    return ended


def _send(channel: paramiko.Channel, data: bytes | None) -> int:
    """Send stdin (None: its end); 0 when the command no longer reads, which is its own affair."""
    with contextlib.suppress(OSError):
        if data is not None:
            return channel.send(data)
        channel.shutdown_write()
    return 0


def _needs_password(target: Target, sudo: bool) -> bool:
    return sudo and target.user != "root" and target.sudo_password is not None


def _without_password(target: Target, words: Sequence[str], sudo: bool) -> Sequence[str]:
    return [*WITHOUT_PASSWORD, *words] if sudo and target.user != "root" else words


def _attempt(
    target: Target, jump: Connection | None, until: float, early: Start | None
) -> tuple[paramiko.Transport, Express | None]:
    """One try, from TCP to authentication. Raises _NotYet or HostKeyMismatch."""
    limit_s = max(1.0, min(ATTEMPT_S, until - time.monotonic()))
    try:
        sock = _socket(target, jump, limit_s)
    finally:
        # after the connect, so that the host is at work while this loads; a bad key is told in any case
        from ansible_like.express import SERVERS, Express  # noqa: PLC0415
        from ansible_like.transport import Transport  # noqa: PLC0415

        key = _private_key(target)
    transport: Transport | None = None
    express: Express | None = None
    try:
        transport = Transport(sock)
        transport.get_security_options().ciphers = CIPHERS
        transport.set_log_channel("ansible_like.transport")
        _handshake(target, transport, limit_s)
        answered = transport.ask_to_be_let_in(target.user, key)
        if early and transport.remote_version.startswith(SERVERS):
            words = _without_password(target, early.words, early.sudo)
            express = Express(transport, shlex.join(words), early.stdin)
        _be_let_in(target, transport, answered, limit_s)
        if express:
            express.await_channel(limit_s)
    except BaseException as error:
        _close(transport or sock)
        if isinstance(error, paramiko.AuthenticationException):
            raise _NotYet(_reason(error), refused=True) from error
        if isinstance(error, (paramiko.SSHException, OSError, EOFError)):
            raise _NotYet(_reason(error), express=express is not None) from error
        raise
    transport.set_keepalive(KEEPALIVE_S)
    return transport, express


def _socket(target: Target, jump: Connection | None, limit_s: float) -> socket.socket | paramiko.Channel:
    place = (target.address, target.port)
    try:
        if jump:
            return jump.through(place, limit_s)
        sock = socket.create_connection(place, timeout=limit_s)
    except TimeoutError as error:
        raise _NotYet(f"TCP did not connect within {limit_s:g} s") from error
    except (OSError, paramiko.SSHException, EOFError) as error:
        raise _NotYet(_reason(error)) from error
    # messages that follow each other without an answer between them must not wait for one
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        # with the keepalives: a host that vanished without a word is noticed
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, SILENCE_S * 1000)
    return sock


def _exchange_keys(transport: Transport, limit_s: float) -> None:
    ended = threading.Event()
    transport.start_client(event=ended)
    if not ended.wait(limit_s):
        if not transport.remote_version:
            raise _NotYet(f"TCP connected, but no SSH protocol banner came within {limit_s:g} s")
        raise _NotYet(f"SSH began to exchange keys, and did not end it within {limit_s:g} s")
    if not transport.is_active():
        raise transport.get_exception() or EOFError("the connection ended when keys were exchanged")


def _handshake(target: Target, transport: Transport, limit_s: float) -> None:
    """Exchange keys and know the host, before anything of ours is sent. Raises HostKeyMismatch."""
    known = {tuple(line.split()[:2]) for line in target.host_keys}
    offers = transport.get_security_options()
    wanted = tuple(kind for kind in offers.key_types if _family(kind) in {_family(kind) for kind, _ in known})
    if not wanted:
        raise _mismatch(target, "no known key is of a kind that can be used")
    offers.key_types = wanted
    try:
        _exchange_keys(transport, limit_s)
    except paramiko.ssh_exception.IncompatiblePeer as error:
        if "host key" in str(error):
            raise _mismatch(target, f"it has no key of a known kind ({', '.join(wanted)})") from error
        raise
    shown = transport.get_remote_server_key()
    if (shown.get_name(), shown.get_base64()) not in known:
        raise _mismatch(target, f"it shows {shown.get_name()} SHA256:{shown.fingerprint.split(':')[-1]}")


def _be_let_in(target: Target, transport: Transport, answered: threading.Event, limit_s: float) -> None:
    if not answered.wait(limit_s):
        raise _NotYet(f"SSH did not say within {limit_s:g} s whether it takes the key of {target.user}")
    if not transport.is_authenticated():
        raise transport.get_exception() or EOFError("the connection ended when our key was shown")


def _family(kind: str) -> str:
    """RSA keys are one kind that signs in several ways."""
    return "ssh-rsa" if kind.startswith("rsa-sha2-") else kind


def _mismatch(target: Target, what: str) -> HostKeyMismatch:
    return HostKeyMismatch(
        target.name,
        f"{target.address}:{target.port} is not the host that was expected: {what}, "
        f"which is none of the {len(target.host_keys)} known host keys",
        "nothing was sent. If the host was made anew, take its keys anew from where they are known for sure",
    )


def sudo_refused(target: Target, why: str) -> SudoRefused:
    given = "give sudo the right password" if target.sudo_password else "give its password (sudo_password)"
    return SudoRefused(
        target.name,
        f"{target.user} may not become root: {target.masked(why)}",
        f"{given}, let sudo take this user without one (NOPASSWD), or connect as root",
    )


def _gave_up(target: Target, last: _NotYet, deadline_s: float) -> EngineError:
    place = f"{target.address}:{target.port}"
    if last.refused:
        return AuthenticationRefused(
            target.name,
            f"{place} answers, but refused the key of {target.user} for {deadline_s:g} s ({last.why})",
            f"see that {target.user}'s authorized_keys there holds its public key (cloud-init's work)",
        )
    return Unreachable(
        target.name,
        f"SSH at {place} did not answer within {deadline_s:g} s (last: {last.why})",
        "see that the host runs, lets this machine in, and does not need longer to boot",
    )


def _private_key(target: Target) -> paramiko.PKey:
    from ansible_like.transport import KEY_CLASSES  # noqa: PLC0415 - as in _attempt

    for kind in KEY_CLASSES:
        with contextlib.suppress(paramiko.SSHException, ValueError, IndexError, UnicodeDecodeError):
            return kind.from_private_key(io.StringIO(target.private_key))
    raise BadPrivateKey(
        target.name,
        "its private key can't be read as ed25519, ECDSA or RSA",
        "give an OpenSSH private key without a passphrase, as `ssh-keygen -t ed25519 -N ''` makes it",
    )


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__


def _last_lines(result: CommandResult) -> str:
    text = result.stderr.strip() or result.stdout.strip()
    return "\n".join(text.splitlines()[-LAST_LINES:])
