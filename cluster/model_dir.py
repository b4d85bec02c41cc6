"""What a model's source tells before planning: its directory is read here, and nowhere else."""

import json
from pathlib import Path

from cluster.config import Model
from cluster.models import ModelShape, shape_from_config, snapshot
from cluster.problems import BadInput, Problem

PATH = "drydock:model.source"


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
    remedy = "Copy the model again; a download may have been cut short."
    try:
        value = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput([Problem(PATH, f"{file} is missing", remedy)]) from None
    except (OSError, ValueError) as error:
        raise BadInput([Problem(PATH, f"{file} cannot be read: {error}", remedy)]) from None
    if not isinstance(value, dict):
        raise BadInput([Problem(PATH, f"{file} holds no JSON object", remedy)])
    return value


def _weights_bytes(directory: Path) -> int:
    """The size of the safetensors files, header included (kilobytes)."""
    return sum(file.stat().st_size for file in directory.glob("*.safetensors"))
