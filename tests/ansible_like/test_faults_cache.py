"""The agent that is kept compiled on the host: sealed, refused when it was tampered with, and dispensable."""

from __future__ import annotations

import importlib.util
import marshal
import os
import stat
import zlib
from pathlib import Path
from typing import Any

import pytest

from ansible_like import program
from tests.ansible_like.agents import OLDEST, Agent
from tests.ansible_like.test_agent import own_file, statuses


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def kept(state: Path) -> dict[str, object]:
    """The code of each module."""
    codes = marshal.loads((state / "agent").read_bytes()[64:])  # noqa: S302
    return {name: marshal.loads(code) for name, code in codes.items()}  # noqa: S302


def converge(state: Path, place: Path, **options: Any) -> list[str]:
    with Agent((own_file(place / "a", "x"),), state, **options) as agent:
        return statuses(agent.results())


def test_it_is_kept_for_its_owner_alone_and_written_once(state: Path, tmp_path: Path) -> None:
    assert converge(state, tmp_path) == ["changed"]
    kept = (state / "agent").stat()
    assert stat.S_IMODE(kept.st_mode) == 0o600
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert converge(state, tmp_path) == ["ok"]
    assert (state / "agent").stat().st_ino == kept.st_ino


def test_the_program_is_sent_only_to_a_host_that_has_none(state: Path, tmp_path: Path) -> None:
    for needed in (True, False):
        with Agent((own_file(tmp_path / "a", "x"),), state) as agent:
            assert agent.was_sent_the_program is needed
            agent.results()
    (state / "agent").unlink()
    with Agent((own_file(tmp_path / "a", "x"),), state) as agent:
        assert agent.was_sent_the_program
        assert statuses(agent.results()) == ["ok"]


@pytest.mark.parametrize("tamper", ["one bit", "cut", "empty", "another's", "nonsense"])
def test_one_that_was_tampered_with_is_not_run_but_replaced(state: Path, tmp_path: Path, tamper: str) -> None:
    converge(state, tmp_path)
    agent = state / "agent"
    whole = agent.read_bytes()
    evil = f"open({str(tmp_path / 'evil')!r}, 'w')"
    forged = marshal.dumps({"ansible_like.agent.start": marshal.dumps(compile(evil, "evil", "exec"))})
    agent.write_bytes(
        {
            "one bit": whole[:-1] + bytes([whole[-1] ^ 1]),
            "cut": whole[: len(whole) // 2],
            "empty": b"",
            "another's": whole[:64] + forged,
            "nonsense": os.urandom(1000),
        }[tamper]
    )
    tampered = agent.read_bytes()
    assert converge(state, tmp_path) == ["ok"]
    assert not (tmp_path / "evil").exists()
    assert agent.read_bytes() != tampered
    kept = agent.stat().st_ino
    assert converge(state, tmp_path) == ["ok"]
    assert agent.stat().st_ino == kept


def test_what_another_controller_sealed_is_not_run(state: Path, tmp_path: Path) -> None:
    converge(state, tmp_path)
    before = (state / "agent").stat().st_ino
    assert converge(state, tmp_path, secret="another") == ["ok"]
    assert (state / "agent").stat().st_ino != before


def test_another_python_compiles_its_own(state: Path, tmp_path: Path) -> None:
    if not OLDEST:
        pytest.skip("no python 3.8 on this machine")
    for python in ("python3", OLDEST, "python3"):
        before = (state / "agent").read_bytes() if state.exists() else b""
        assert converge(state, tmp_path, python=python)
        assert (state / "agent").read_bytes() != before
    assert sorted(path.name for path in state.iterdir()) == ["agent", "history.jsonl", "lock"]


def test_a_python_of_another_kind_is_sent_the_source(state: Path, tmp_path: Path) -> None:
    assert converge(state, tmp_path) == ["changed"]
    compiled = kept(state)
    (state / "agent").unlink()
    assert converge(state, tmp_path, magic="none") == ["ok"]
    assert kept(state) == compiled
    assert b"def install" not in zlib.decompress(program.program(importlib.util.MAGIC_NUMBER.hex())[10:])
    assert b"def install" in zlib.decompress(program.program("none")[10:])


def test_where_it_cannot_be_kept_all_goes_without(state: Path, tmp_path: Path) -> None:
    state.mkdir(mode=0o700)
    (state / "agent").mkdir()
    assert converge(state, tmp_path) == ["changed"]
    assert converge(state, tmp_path) == ["ok"]
    assert sorted(path.name for path in state.iterdir()) == ["agent", "history.jsonl", "lock"]
