"""Keys from files: the private one that lets us in, and those that hosts may show."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ansible_like.lean import paramiko
from ansible_like.transport import KEY_CLASSES
from cluster.problems import Problem


class BadKey(Exception):  # noqa: N818 - what is wrong with a file, for the problem that names its setting
    """A private key's file that can't be used: why, and the way out."""

    def __init__(self, what: str, remedy: str) -> None:
        self.what, self.remedy = what, remedy
        super().__init__(what)


def read_private_key(file: Path) -> str:
    """The text of a private key that nobody else can read and that needs no passphrase. Raises BadKey."""
    try:
        text = file.read_text(encoding="utf-8")
        mode = file.stat().st_mode & 0o777
    except OSError as error:
        raise BadKey(f"can't be read: {error.strerror}", "Name the file of a private key.") from error
    except UnicodeDecodeError as error:
        raise BadKey("is no private key", "Name the file of an OpenSSH private key.") from error
    if mode & 0o077:
        raise BadKey(f"has mode {mode:04o}: others may read it", f"Run `chmod 600 {file}`.")
    for kind in KEY_CLASSES:
        try:
            kind.from_private_key(io.StringIO(text))
        except paramiko.PasswordRequiredException as error:
            raise BadKey(
                "has a passphrase", "Give a key without one, as `ssh-keygen -t ed25519 -N ''` makes it."
            ) from error
        except (paramiko.SSHException, ValueError, IndexError):
            continue
        return text
    half = "is the public half of a key" if text.startswith(("ssh-", "ecdsa-")) else "is no private key"
    raise BadKey(half, "Name the file of an OpenSSH private key: ed25519, ECDSA or RSA.")


def known_name(address: str, port: int) -> str:
    """What known_hosts calls a host."""
    return address if port == 22 else f"[{address}]:{port}"


@dataclass(frozen=True)
class KnownHosts:
    """The lines of a known_hosts file, without the keys that it revokes."""

    entries: Sequence[paramiko.hostkeys.HostKeyEntry]

    def keys_of(self, address: str, port: int) -> tuple[str, ...]:
        """The host keys ("ssh-ed25519 AAAA…") of that place."""
        name = known_name(address, port)
        return tuple(
            f"{entry.key.get_name()} {entry.key.get_base64()}"
            for entry in self.entries
            if any(each == name or _is_hash_of(each, name) for each in entry.hostnames)
        )


def read_known_hosts(file: Path) -> tuple[KnownHosts, list[Problem]]:
    """The keys of a known_hosts file; patterns and certificates in it are left out."""
    try:
        lines = file.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        what = f"{file} can't be read: {error.strerror}"
        return KnownHosts(()), [Problem("knownHostsFile", what, "Name a file as ~/.ssh/known_hosts is.")]
    entries: list[paramiko.hostkeys.HostKeyEntry] = []
    problems: list[Problem] = []
    revoked: set[str] = set()
    for number, line in enumerate(lines, start=1):
        words = line.split()
        if words[:1] == ["@revoked"]:
            revoked.update(words[3:4])
        if not words or words[0].startswith(("#", "@")):
            continue
        try:
            entry = paramiko.hostkeys.HostKeyEntry.from_line(" ".join(words), number)
        except (paramiko.hostkeys.InvalidHostKey, paramiko.SSHException, ValueError, IndexError):
            problems.append(
                Problem(f"{file}:{number}", "holds a torn key", "Remove the line, or take it anew.")
            )
        else:
            entries += [entry] if entry else []
    kept = [entry for entry in entries if entry.key.get_base64() not in revoked]
    return KnownHosts(kept), problems


def _is_hash_of(text: str, name: str) -> bool:
    return text.startswith("|1|") and paramiko.HostKeys.hash_host(name, text) == text
