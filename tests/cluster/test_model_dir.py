"""What a model's directory tells, and how a broken one is refused."""

import json
from pathlib import Path

import pytest

from cluster.config import Model
from cluster.model_dir import find_shape
from cluster.problems import BadInput
from tests.cluster.configs import SMALL_LLAMA


def model(source: Path | str) -> Model:
    return Model.model_validate({"source": str(source)})


def safetensors(size: int) -> bytes:
    """A file of that many bytes of tensors behind its header."""
    header = b'{"__metadata__":{}}'
    return len(header).to_bytes(8, "little") + header + bytes(size)


def test_a_directory_tells_shape_and_bytes(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL_LLAMA))
    (tmp_path / "model-1.safetensors").write_bytes(safetensors(100))
    (tmp_path / "model-2.safetensors").write_bytes(safetensors(50))
    exists, shape = find_shape(model(tmp_path))
    assert exists
    assert shape is not None
    assert (shape.layers, shape.weights_bytes) == (2, 150)


@pytest.mark.parametrize(
    "content", [b"", b"\x10\0\0\0\0\0\0\0{}", b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n"]
)
def test_weights_that_are_cut_short_or_a_pointer_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "config.json").write_text(json.dumps(SMALL_LLAMA))
    (tmp_path / "model.safetensors").write_bytes(content)
    with pytest.raises(BadInput, match="is no whole safetensors file") as refused:
        find_shape(model(tmp_path))
    assert "git lfs pull" in refused.value.problems[0].remedy


def test_home_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "config.json").write_text(json.dumps(SMALL_LLAMA))
    assert find_shape(model("~/m"))[0]


def test_no_directory_is_a_fact_for_the_rules(tmp_path: Path) -> None:
    assert find_shape(model(tmp_path / "none")) == (False, None)


def test_a_hub_id_is_looked_up_in_the_snapshot() -> None:
    assert find_shape(model("Qwen/Qwen3-8B"))[0]
    assert find_shape(model("nobody/nothing")) == (False, None)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (None, "is missing"),
        ('{"architectures": ', "cannot be read"),
        ("<html>401</html>", "cannot be read"),
        ("[1]", "holds no JSON object"),
        (b"\xff\xfe", "cannot be read"),
    ],
)
def test_a_broken_config_is_refused_by_name(tmp_path: Path, content: str | bytes | None, what: str) -> None:
    if content is not None:
        (tmp_path / "config.json").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(BadInput) as refused:
        find_shape(model(tmp_path))
    (problem,) = refused.value.problems
    assert what in problem.what
    assert str(tmp_path / "config.json") in problem.what
