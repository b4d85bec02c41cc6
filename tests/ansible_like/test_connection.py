"""Connections to a real sshd: who is let in, who is refused, and what a command brings back."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest

from ansible_like.connection import Connection, Target
from ansible_like.result import (
    AuthenticationRefused,
    BadPrivateKey,
    CommandFailed,
    ConnectionLost,
    EngineError,
    HostKeyMismatch,
    Unreachable,
)
from tests.ansible_like.conftest import Sshd, free_port, make_key, serve

KEXINIT, NEWKEYS = b"\x14", b"\x15"


@pytest.fixture
def connection(sshd: Sshd) -> Iterator[Connection]:
    with Connection.open(sshd.target(), 20) as opened:
        yield opened


class TestRun:
    def test_arguments_arrive_as_they_are(self, connection: Connection) -> None:
        words = ["printf", "%s|", "a b", "$HOME", "'", '"', "ü", "*"]
        assert connection.run(words).stdout == "a b|$HOME|'|\"|ü|*|"

    def test_a_str_is_the_shell_s(self, connection: Connection) -> None:
        result = connection.run("echo out; echo err >&2; exit 3", ok_codes=(0, 3))
        assert (result.exit_code, result.stdout, result.stderr) == (3, "out\n", "err\n")

    def test_a_failure_tells_host_command_code_and_last_lines(self, connection: Connection) -> None:
        with pytest.raises(CommandFailed) as failure:
            connection.run("seq 100 >&2; exit 4")
        error = failure.value
        assert (error.host, error.command, error.exit_code) == ("node-0", "seq 100 >&2; exit 4", 4)
        assert error.last_lines.splitlines() == [str(number) for number in range(81, 101)]
        assert str(error).startswith("node-0: `seq 100 >&2; exit 4` ended with exit code 4\n      81\n")

    def test_a_program_that_is_not_there(self, connection: Connection) -> None:
        with pytest.raises(CommandFailed, match="exit code 127"):
            connection.run(["no-such-program"])

    def test_large_input_and_output_at_once(self, connection: Connection) -> None:
        data = bytes(range(256)) * 80_000
        result = connection.run("tee /dev/stderr | sha256sum", stdin=data)
        assert len(result.stderr) == len(data.decode("utf-8", "replace"))
        expected = subprocess.run(["sha256sum"], input=data, capture_output=True, check=True).stdout
        assert result.stdout.encode() == expected

    def test_a_command_that_does_not_read_its_stdin(self, connection: Connection) -> None:
        assert connection.run(["true"], stdin=b"x" * 20_000_000).exit_code == 0

    def test_a_command_that_says_nothing_until_its_stdin_ends(self, connection: Connection) -> None:
        assert connection.run("cat > /dev/null; echo end", stdin=b"x", deadline_s=20).stdout == "end\n"

    def test_broken_utf_8_is_replaced(self, connection: Connection) -> None:
        assert connection.run("printf 'a\\377b'").stdout == "a\ufffdb"

    def test_a_command_past_its_deadline_is_killed_there_too(
        self, connection: Connection, tmp_path: Path
    ) -> None:
        with pytest.raises(CommandFailed, match=r"did not end within 0\.5 s and was killed") as failure:
            connection.run(f"echo $$ > {tmp_path}/pid; echo begun; sleep 1000; :", deadline_s=0.5)
        assert failure.value.exit_code is None
        assert failure.value.last_lines == "begun"
        assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()

    def test_a_connection_that_ends_in_the_middle(self, sshd: Sshd, tmp_path: Path) -> None:
        # the command ends the process of sshd that serves it
        with Connection.open(sshd.target(), 20) as doomed, pytest.raises(ConnectionLost):
            doomed.run(
                "kill -9 $(awk '/^PPid/{print $2}' /proc/$(awk '/^PPid/{print $2}' /proc/$$/status)/status)"
            )


class TestHostKeys:
    def test_another_key_of_the_same_kind_is_refused_before_anything_is_sent(
        self, sshd: Sshd, tmp_path: Path
    ) -> None:
        make_key(tmp_path / "other")
        other = (tmp_path / "other.pub").read_text()
        before = len(sshd.log)
        with pytest.raises(HostKeyMismatch, match="SHA256:") as refusal:
            Connection.open(sshd.target(host_keys=(other,)), 20)
        assert "nothing was sent" in str(refusal.value)
        said = sshd.log[before:]
        assert "userauth" not in said
        assert "publickey" not in said

    def test_a_host_without_a_key_of_a_known_kind_is_refused(self, sshd: Sshd) -> None:
        ecdsa = "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBA=="
        with pytest.raises(HostKeyMismatch, match="no key of a known kind"):
            Connection.open(sshd.target(host_keys=(ecdsa,)), 20)

    def test_no_key_known_is_no_key_trusted(self, sshd: Sshd) -> None:
        with pytest.raises(HostKeyMismatch, match="none of the 0 known host keys"):
            Connection.open(sshd.target(host_keys=()), 20)

    def test_one_of_several_known_keys_is_enough(self, sshd: Sshd, tmp_path: Path) -> None:
        make_key(tmp_path / "other")
        keys = ((tmp_path / "other.pub").read_text(), sshd.host_key)
        with Connection.open(sshd.target(host_keys=keys), 20) as opened:
            assert opened.run(["true"]).exit_code == 0


class TestOpening:
    def test_a_port_where_nothing_listens(self, sshd: Sshd) -> None:
        with pytest.raises(Unreachable, match=r"did not answer within 0\.5 s .*refused") as failure:
            Connection.open(sshd.target(port=free_port()), 0.5)
        assert failure.value.host == "node-0"

    @pytest.mark.parametrize(
        ("client_message", "told"),
        [
            (b"", "TCP connected, but no SSH protocol banner came within 1 s"),
            (KEXINIT, "SSH began to exchange keys, and did not end it within 1 s"),
            (NEWKEYS, "SSH did not say within 1 s whether it takes the key of"),
        ],
    )
    def test_the_part_of_the_handshake_that_hangs_is_told(
        self, sshd: Sshd, client_message: bytes, told: str
    ) -> None:
        with stalling(sshd.port, client_message) as port, pytest.raises(Unreachable, match=told):
            Connection.open(sshd.target(port=port), 1)

    def test_a_key_that_is_not_taken(self, sshd: Sshd, tmp_path: Path) -> None:
        make_key(tmp_path / "key")
        with pytest.raises(AuthenticationRefused, match="refused the key of"):
            Connection.open(sshd.target(private_key=(tmp_path / "key").read_text()), 0.5)

    def test_a_refusal_is_told_as_one_even_when_the_waiting_thread_is_the_quicker(
        self, sshd: Sshd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        paramikos = paramiko.auth_handler.AuthHandler._parse_userauth_failure  # type: ignore[attr-defined]
        looked = threading.Event()

        def slow(handler: object, message: object) -> None:
            paramikos(handler, message)
            looked.wait(0.3)  # nobody sets it: whoever was woken too early looks now

        monkeypatch.setattr(paramiko.auth_handler.AuthHandler, "_parse_userauth_failure", slow)
        make_key(tmp_path / "key")
        with pytest.raises(AuthenticationRefused, match="refused the key of"):
            Connection.open(sshd.target(private_key=(tmp_path / "key").read_text()), 0.1)

    def test_a_key_that_is_no_key(self, sshd: Sshd) -> None:
        with pytest.raises(BadPrivateKey, match="ssh-keygen"):
            Connection.open(sshd.target(private_key="-----BEGIN NONSENSE-----"), 20)

    def test_ssh_that_comes_late_is_waited_for(self, sshd: Sshd, tmp_path: Path) -> None:
        port = free_port()
        copy_keys(sshd.folder, tmp_path)
        with opening(sshd.target(port=port)) as refused_once:
            assert refused_once.wait(10)
            with serve(tmp_path, port):
                opened = refused_once.opened()
                assert opened.run(["echo", "late"]).stdout == "late\n"
                opened.close()

    def test_a_key_that_comes_late_is_waited_for(self, sshd: Sshd, tmp_path: Path) -> None:
        copy_keys(sshd.folder, tmp_path)
        (tmp_path / "authorized_keys").write_text("")
        with serve(tmp_path, free_port()) as server, opening(server.target()) as refused_once:
            assert refused_once.wait(10)
            (tmp_path / "authorized_keys").write_text((tmp_path / "user_key.pub").read_text())
            refused_once.opened().close()

    def test_through_a_jump_host(self, sshd: Sshd) -> None:
        through = sshd.target("inner", jump=sshd.target("jump"))
        with Connection.open(through, 20) as opened:
            assert opened.run(["echo", "deep"]).stdout == "deep\n"

    def test_a_jump_host_that_is_another_is_refused(self, sshd: Sshd) -> None:
        with pytest.raises(HostKeyMismatch, match=r"^jump: "):
            Connection.open(sshd.target("inner", jump=sshd.target("jump", host_keys=())), 20)

    def test_what_the_jump_host_cannot_reach(self, sshd: Sshd) -> None:
        through = sshd.target("inner", port=free_port(), jump=sshd.target("jump"))
        with pytest.raises(Unreachable, match=r"^inner: "):
            Connection.open(through, 0.5)

    def test_a_private_key_is_in_no_repr(self, sshd: Sshd) -> None:
        assert "PRIVATE KEY" not in repr(sshd.target())
        assert replace(sshd.target(), name="x") in {sshd.target("x"): None}


@contextlib.contextmanager
def stalling(port: int, client_message: bytes) -> Iterator[int]:
    """A port before a real sshd that holds back all that the host says once the client sends this message.

    An empty one is there from the start. The messages are those that go over before anything is encrypted.
    """
    held = threading.Event()
    ended = threading.Event()

    def to_host(client: socket.socket, host: socket.socket) -> None:
        said = b""
        with contextlib.suppress(OSError):
            while data := client.recv(65536):
                said += data
                if client_message in _message_kinds(said):
                    held.set()
                host.sendall(data)

    def to_client(client: socket.socket, host: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := host.recv(65536):
                if held.is_set():
                    ended.wait()
                    return
                client.sendall(data)

    with socket.create_server(("127.0.0.1", 0)) as server:
        if not client_message:
            held.set()

        def serve_one() -> None:
            client, _ = server.accept()
            with client, socket.create_connection(("127.0.0.1", port)) as host:
                back = threading.Thread(target=to_client, args=(client, host))
                back.start()
                to_host(client, host)
                host.shutdown(socket.SHUT_RDWR)
                back.join()

        thread = threading.Thread(target=serve_one)
        thread.start()
        try:
            yield server.getsockname()[1]
        finally:
            ended.set()
            thread.join()


def _message_kinds(said: bytes) -> bytes:
    """The kinds of the messages that a side sent until its NEWKEYS, a byte each."""
    _, _, rest = said.partition(b"\n")
    kinds = b""
    while len(rest) > 5 and NEWKEYS not in kinds:
        kinds += rest[5:6]
        rest = rest[4 + int.from_bytes(rest[:4], "big") :]
    return kinds


class opening:  # noqa: N801 - used as a function
    """A connection that is being opened in a thread, and whose first refusal can be waited for."""

    def __init__(self, target: Target) -> None:
        self._refused = threading.Event()
        self._result: list[Connection | Exception] = []
        self._cancelled = _Watched(self._refused.set)
        self._thread = threading.Thread(target=self._open, args=(target,))

    def _open(self, target: Target) -> None:
        try:
            self._result.append(Connection.open(target, 60, self._cancelled))
        except EngineError as error:
            self._result.append(error)

    def wait(self, timeout: float) -> bool:
        return self._refused.wait(timeout)

    def opened(self) -> Connection:
        self._thread.join(60)
        (result,) = self._result
        if isinstance(result, Exception):
            raise result
        return result

    def __enter__(self) -> opening:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._cancelled.set()
        self._thread.join(60)


class _Watched(threading.Event):
    """Tells when somebody begins to wait for it: the pause between two attempts."""

    def __init__(self, on_wait: Callable[[], None]) -> None:
        super().__init__()
        self._on_wait = on_wait

    def wait(self, timeout: float | None = None) -> bool:
        self._on_wait()
        return super().wait(timeout)


def copy_keys(source: Path, target: Path) -> None:
    for name in ("host_key", "host_key.pub", "user_key", "user_key.pub", "authorized_keys"):
        with contextlib.suppress(FileNotFoundError):
            (target / name).write_bytes((source / name).read_bytes())
            (target / name).chmod(0o600)
