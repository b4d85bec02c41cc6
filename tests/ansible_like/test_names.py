"""The names of users and groups, looked up once as long as nothing can have changed them."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from ansible_like.agent import host, names
from ansible_like.agent.values import AwaitPath, Run, WriteFile


@pytest.fixture
def users(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[int, str]]:
    """The host's list, and nothing known of it yet."""
    known: dict[int, str] = {7000: "ada"}

    def by_number(number: int) -> SimpleNamespace:
        return SimpleNamespace(pw_name=known[number])

    monkeypatch.setattr(pwd, "getpwuid", by_number)
    names.forget()
    yield known
    names.forget()


@pytest.mark.parametrize("kind", ["a command", "a wait"])
def test_a_name_is_looked_up_anew_when_it_may_have_changed(
    users: dict[int, str], kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host, "_run", lambda *_: None)  # it needs a controller that lives
    assert (names.user_name(7000), names.user_name(7001)) == ("ada", "7001")
    users.update({7000: "eve", 7001: "bob"})
    assert (names.user_name(7000), names.user_name(7001)) == ("ada", "7001")
    action = Run(("true",)) if kind == "a command" else AwaitPath(str(tmp_path), 0.0)
    host.perform(action, lambda **_: None)
    assert (names.user_name(7000), names.user_name(7001)) == ("eve", "bob")


def test_a_file_that_is_written_changes_no_name(users: dict[int, str], tmp_path: Path) -> None:
    assert names.user_name(7000) == "ada"
    users[7000] = "eve"
    action = WriteFile(f"{tmp_path}/file", b"", 0o600, str(os.getuid()), str(os.getgid()))
    host.perform(action, lambda **_: None)
    assert names.user_name(7000) == "ada"
