"""The tiny model: what its key depends on, what it is asked, and that a changed file shows."""

import hashlib
import json
from itertools import combinations
from pathlib import Path

import jinja2
import pytest

from cluster.problems import Failure
from rehearsal import tiny_model

LESSONS: dict[str, str] = json.loads((tiny_model.DEFINITION / "lessons.json").read_text())


@pytest.fixture
def cached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache that holds a finished model for the current key."""
    monkeypatch.setattr(tiny_model, "MODELS", tmp_path)
    monkeypatch.setattr(tiny_model, "STABLE", tmp_path / tiny_model.NAME)
    home = tmp_path / tiny_model.key()
    files = {"config.json": b"{}", "model-00001-of-00001.safetensors": b"weights"}
    (home / tiny_model.NAME).mkdir(parents=True)
    for name, content in files.items():
        (home / tiny_model.NAME / name).write_bytes(content)
    sums = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    (home / "sha256.json").write_text(json.dumps(sums))
    return home


def test_the_question_of_the_rehearsal_has_its_answer() -> None:
    assert LESSONS["Where does the ship rest?"] == "The ship rests in the drydock."


def test_some_lessons_differ_in_one_word_so_that_the_whole_question_counts() -> None:
    close = [
        (one, other)
        for one, other in combinations(LESSONS, 2)
        if len(one.split()) == len(other.split())
        and sum(a != b for a, b in zip(one.split(), other.split(), strict=True)) == 1
    ]
    words_that_decide = {
        i
        for one, other in close
        for i, (a, b) in enumerate(zip(one.split(), other.split(), strict=True))
        if a != b
    }
    assert words_that_decide >= {0, 3, 4}
    assert len(set(LESSONS.values())) == len(LESSONS)


def test_the_chat_template_opens_the_assistants_turn_only_when_asked() -> None:
    template = jinja2.Environment(autoescape=False).from_string(  # noqa: S701 - a prompt is not HTML
        (tiny_model.DEFINITION / "chat_template.jinja").read_text()
    )
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": " Who? "}]
    turns = "<|bos|><|system|>Be brief.<|end|><|user|>Who?<|end|>"
    asked = template.render(messages=messages, bos_token="<|bos|>", add_generation_prompt=True)
    assert asked.strip() == f"{turns}<|assistant|>"
    assert template.render(messages=messages, bos_token="<|bos|>").strip() == turns


def test_the_key_follows_the_lessons_and_the_versions_it_trains_with(tmp_path: Path) -> None:
    lessons, libraries = tmp_path / "definition" / "lessons.json", tmp_path / "requirements.txt"
    lessons.parent.mkdir()
    lessons.write_text("{}")
    libraries.write_text("torch==1\n")
    keys = [tiny_model.key(lessons.parent, libraries)]
    lessons.write_text('{"Who?": "Me."}')
    keys.append(tiny_model.key(lessons.parent, libraries))
    libraries.write_text("torch==2\n")
    keys.append(tiny_model.key(lessons.parent, libraries))
    assert len(set(keys)) == len(keys)


def test_a_cached_model_is_taken_and_its_stable_name_leads_to_it(cached: Path) -> None:
    (cached.parent / "older").mkdir()
    tiny_model.STABLE.symlink_to("older")
    assert tiny_model.ensure() == tiny_model.STABLE
    assert tiny_model.STABLE.resolve() == cached / tiny_model.NAME
    assert tiny_model.ensure() == tiny_model.STABLE
    assert {path.name for path in cached.parent.iterdir()} == {
        "older",
        cached.name,
        f"{cached.name}.lock",
        tiny_model.NAME,
    }


def test_a_changed_a_missing_and_a_stray_file_are_damage(cached: Path) -> None:
    weights = cached / tiny_model.NAME / "model-00001-of-00001.safetensors"
    weights.write_bytes(b"Weights")
    with pytest.raises(Failure, match=f"rm -rf {cached}"):
        tiny_model.ensure()
    weights.unlink()
    with pytest.raises(Failure, match="damaged"):
        tiny_model.ensure()
    weights.write_bytes(b"weights")
    (weights.parent / "stray").touch()
    with pytest.raises(Failure, match="damaged"):
        tiny_model.ensure()
    (cached / "sha256.json").write_text("torn")
    with pytest.raises(Failure, match="damaged"):
        tiny_model.ensure()
