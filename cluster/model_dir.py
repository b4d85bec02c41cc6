"""What a model's source tells before planning: its directory is read here, and nowhere else."""

import json
from pathlib import Path

from cluster.config import Model
from cluster.models import shape_from_config, snapshot
from cluster.problems import BadInput, Problem
from cluster.shape import ModelShape

PATH = "drydock:model.source"
REMEDY = "Copy the model again; a download may have been cut short."
MOST_BYTES = 20_000_000
"""A config.json has kilobytes, the index of a very large model a few megabytes."""


def find_shape(model: Model) -> tuple[bool, ModelShape | None]:
    """Whether the source is there, and its shape; BadInput where its files are broken."""
    if not model.is_local:
        shape = snapshot(model.source)
        return shape is not None, shape
    directory = Path(model.source).expanduser()
    if not directory.is_dir():
        return False, None
    config = _read(directory / "config.json")
    return True, shape_from_config(config, _weights_bytes(directory), path=str(directory / "config.json"))


def _read(file: Path) -> dict[str, object]:
    """A JSON object from a file."""
    try:
        size = file.stat().st_size
        if size > MOST_BYTES:
            what = f"{file} has {size / 1e6:.0f} MB, more than any {file.name} has"
            raise BadInput(
                [Problem(PATH, what, "Point it at the model's own directory, not at its weights.")]
            )
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadInput([Problem(PATH, f"{file} is missing", REMEDY)]) from None
    except (OSError, ValueError) as error:
        raise BadInput([Problem(PATH, f"{file} cannot be read: {error}", REMEDY)]) from None
    return json_object(text, str(file))


def json_object(text: str, where: str) -> dict[str, object]:
    """A JSON object from text that came from a file or the hub; BadInput says what it is instead."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        page = text.lstrip()[:1] == "<"
        what = "cannot be read: it is an HTML page, not JSON" if page else f"cannot be read: {error}"
        raise BadInput([Problem(PATH, f"{where} {what}", REMEDY)]) from None
    if not isinstance(value, dict):
        raise BadInput([Problem(PATH, f"{where} holds no JSON object", REMEDY)])
    return value


def index_bytes(index: dict[str, object], where: str) -> int:
    """The bytes of all tensors that a safetensors index tells; BadInput where it tells none."""
    metadata = index.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    if not isinstance(total, int) or total <= 0:
        raise BadInput([Problem(PATH, f"{where} tells no metadata.total_size", REMEDY)])
    return total


def _weights_bytes(directory: Path) -> int | None:
    """The bytes of the tensors: of the index, else of the files with their small headers."""
    index = directory / "model.safetensors.index.json"
    if index.is_file():
        return index_bytes(_read(index), str(index))
    found = list(directory.glob("*.safetensors"))
    if any("-of-" in file.name for file in found):
        raise BadInput([Problem(PATH, f"{index} is missing beside {len(found)} shards", REMEDY)])
    return sum(file.stat().st_size for file in found) or None
