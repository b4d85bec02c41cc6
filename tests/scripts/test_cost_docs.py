"""docs/cost.md shows what the command prints today."""

import re
import sys
from pathlib import Path

import pytest

from rehearsal import paths
from scripts import drydock

DOCS = paths.REPO / "docs"


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], str]:
    """The command in the page and the output beneath it."""
    monkeypatch.setattr(paths, "CACHE", tmp_path)
    block = re.search(r"```console\n\$ (drydock cost .*)\n([^`]*)```", (DOCS / "cost.md").read_text())
    assert block
    return block[1].split(), block[2]


def test_the_output_in_the_page(
    shown: tuple[list[str], str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    command, expected = shown
    monkeypatch.setattr(sys, "argv", command)
    with pytest.raises(SystemExit):
        drydock.main()
    printed = [line.rstrip() for line in capsys.readouterr().out.rstrip().splitlines()]
    assert printed == expected.rstrip().splitlines()


def test_the_picture_in_the_page(
    shown: tuple[list[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command, _ = shown
    monkeypatch.setattr(sys, "argv", [*command, "--plot", str(tmp_path / "cost.svg")])
    with pytest.raises(SystemExit):
        drydock.main()

    def words(file: Path) -> list[str]:
        return re.findall(r"<text[^>]*>([^<]*)</text>", file.read_text())

    assert len(words(DOCS / "cost.svg")) > 20
    assert words(tmp_path / "cost.svg") == words(DOCS / "cost.svg")
