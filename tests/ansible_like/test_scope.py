"""The engine could be a library of its own: what it is used for here stands nowhere in it."""

import re
from pathlib import Path

import ansible_like

FOREIGN = re.compile(r"vllm|\baws\b|amazon|\bec2\b|pulumi|nvidia|cuda|\bgpu", re.IGNORECASE)


def test_no_file_of_it_knows_a_word_of_what_it_serves() -> None:
    files = sorted(Path(ansible_like.__file__).parent.rglob("*.py"))
    assert len(files) > 20
    found = [f"{file.name}: {word}" for file in files for word in FOREIGN.findall(file.read_text())]
    assert found == []
