"""A real sshd of the user who runs the tests, on a free loopback port, with its own keys."""

from __future__ import annotations

import getpass
import shutil
import signal
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from ansible_like.connection import Target
from ansible_like.result import Event
from tests import measured

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin:/usr/bin")
CONFIG = """\
Port {port}
ListenAddress 127.0.0.1
HostKey {folder}/host_key
PidFile none
AuthorizedKeysFile {folder}/authorized_keys
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
MaxStartups 100
LogLevel VERBOSE
"""


@dataclass(frozen=True)
class Sshd:
    """A running server: where it listens, what it shows, and the key that it takes."""

    folder: Path
    port: int

    @property
    def host_key(self) -> str:
        return (self.folder / "host_key.pub").read_text().strip()

    @property
    def private_key(self) -> str:
        return (self.folder / "user_key").read_text()

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    def target(self, name: str = "node-0", **changes: object) -> Target:
        values: dict[str, object] = {
            "name": name,
            "address": "127.0.0.1",
            "port": self.port,
            "user": getpass.getuser(),
            "private_key": self.private_key,
            "host_keys": (self.host_key,),
            "sudo": False,
        }
        return Target(**{**values, **changes})  # type: ignore[arg-type]


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def make_key(path: Path) -> None:
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)


@pytest.fixture(scope="session")
def sshd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """One server for the whole session."""
    if not SSHD:
        pytest.skip("no sshd here: apt-get install openssh-server")
    folder = tmp_path_factory.mktemp("sshd")
    make_key(folder / "host_key")
    make_key(folder / "user_key")
    (folder / "authorized_keys").write_text((folder / "user_key.pub").read_text())
    with serve(folder, free_port()) as server:
        yield server


class serve:  # noqa: N801 - used as a function
    """Run sshd in the foreground over a folder of keys until the block ends."""

    def __init__(self, folder: Path, port: int, more_config: str = "") -> None:
        self._server = Sshd(folder, port)
        self._more_config = more_config

    def __enter__(self) -> Sshd:
        folder, port = self._server.folder, self._server.port
        # where sshd's part without privileges lives; its package makes it only when the service starts
        if getpass.getuser() == "root":
            Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
        config = folder / "config"
        config.write_text(
            CONFIG.format(folder=folder, port=port) + measured.sshd_config() + self._more_config
        )
        assert SSHD
        command = [SSHD, "-D", "-e", "-f", str(config)]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        listening = threading.Event()
        threading.Thread(target=self._keep_log, args=(listening,), daemon=True).start()
        assert listening.wait(10), self._server.log
        return self._server

    def _keep_log(self, listening: threading.Event) -> None:
        assert self._process.stderr
        with (self._server.folder / "log").open("a", buffering=1) as log:
            for line in self._process.stderr:
                log.write(line)
                if "Server listening" in line:
                    listening.set()

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


@pytest.fixture
def interrupt_at_progress() -> Iterator[Callable[[Event], None]]:
    """Ctrl-C as soon as a step tells of its progress: where the caller waits, not in a host's thread."""

    def interrupt(event: Event) -> None:
        if event.status == "progress":
            ident = threading.main_thread().ident
            assert ident
            signal.pthread_kill(ident, signal.SIGINT)

    # a suite started behind `&` has the shell's SIGINT ignored
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield interrupt
    signal.signal(signal.SIGINT, before)
