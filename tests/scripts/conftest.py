"""The SSH server of the engine's tests, for the commands that stand on it."""

from tests.ansible_like.conftest import sshd

__all__ = ["sshd"]
