"""What a run sends is made ready once for all hosts that want the same."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from ansible_like import program
from ansible_like.operations import Directory, Upload
from ansible_like.sources import SourceFault, Sources


def test_a_play_that_hosts_share_is_packed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    packed: list[object] = []
    pack = program.packed

    def counted(value: object) -> bytes:
        packed.append(value)
        return pack(value)

    monkeypatch.setattr(program, "packed", counted)
    shared, other = (Directory("/a"),), (Directory("/a"), Directory("/b"))
    sources = Sources((*shared, *other))
    with ThreadPoolExecutor(8) as pool:
        sent = list(pool.map(sources.packed, (shared, other) * 8))
    assert len(set(sent)) == len(packed) == 2


def test_a_source_that_is_gone_is_told_to_every_host_that_wants_it(tmp_path: Path) -> None:
    play = (Upload("/model", str(tmp_path / "gone")),)
    sources = Sources(play)
    for _ in range(2):
        with pytest.raises(SourceFault, match=r"upload /model: its source .*/gone can't be read"):
            sources.packed(play)
