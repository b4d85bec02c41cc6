"""What a model's source tells before planning: its directory is read here, and nowhere else."""

import codecs
import json
import os
import stat
from pathlib import Path

from cluster.config import Model
from cluster.models import shape_from_config, snapshot
from cluster.problems import BadInput, Problem
from cluster.reader import shown
from cluster.shape import ModelShape

PATH = "drydock:model.source"
REMEDY = "Copy the model again; a download may have been cut short."
SOMETHING_ELSE = (
    (b"<", "is an HTML page, not JSON", REMEDY),
    (
        b"version https://git-lfs",
        "is a Git LFS pointer, not the file itself",
        "Get the file: `git lfs pull`.",
    ),
    (
        codecs.BOM_UTF8,
        "begins with a byte order mark",
        "Save it as UTF-8 without one: vLLM cannot read it either.",
    ),
    (codecs.BOM_UTF16_LE, "is UTF-16", "Save it as UTF-8."),
    (codecs.BOM_UTF16_BE, "is UTF-16", "Save it as UTF-8."),
)
"""How what is no JSON begins, with what it is and what to do."""
MOST_BYTES = 20_000_000
"""A config.json has kilobytes, the index of a very large model a few megabytes."""


def find_shape(model: Model) -> tuple[bool, ModelShape | None]:
    """Whether the source is there, and its shape; BadInput where its files are broken."""
    if not model.is_local:
        shape = snapshot(model.source)
        return shape is not None, shape
    directory = directory_of(model.source)
    if directory is None:
        return False, None
    config = _read(directory / "config.json")
    return True, shape_from_config(config, _weights_bytes(directory), path=str(directory / "config.json"))


def directory_of(source: str) -> Path | None:
    """The directory of that name, or None where there is none; BadInput where that cannot be seen."""
    try:
        directory = Path(source).expanduser()
        return directory if directory.is_dir() else None
    except (OSError, RuntimeError, ValueError) as error:  # no right to look, no such user, no name for a file
        raise _bad(
            f"{shown(source)} cannot be read: {error}", "Check its name and its permissions."
        ) from None


def _read(file: Path) -> dict[str, object]:
    """A JSON object from a file."""
    try:
        found = file.stat()
        if not stat.S_ISREG(found.st_mode):
            raise _bad(f"{file} is no regular file", REMEDY)
        if found.st_size > MOST_BYTES:
            what = f"{file} has {found.st_size / 1e6:.0f} MB, more than any {file.name} has"
            raise _bad(what, "Point it at the model's own directory, not at its weights.")
        content = file.read_bytes()
    except FileNotFoundError:
        raise _bad(f"{file} is missing", REMEDY) from None
    except OSError as error:
        raise _bad(f"{file} cannot be read: {error}", "Check its permissions.") from None
    return json_object(content, str(file))


def json_object(content: bytes, where: str) -> dict[str, object]:
    """A JSON object from what came from a file or the hub; BadInput says what it is instead."""
    for start, what, remedy in SOMETHING_ELSE:
        if content.lstrip().startswith(start):
            raise _bad(f"{where} cannot be read: it {what}", remedy)
    try:
        value = json.loads(content.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        what = "is empty" if not content.strip() else f"cannot be read: {error}"
        raise _bad(f"{where} {what}", REMEDY) from None
    if not isinstance(value, dict):
        raise _bad(f"{where} holds no JSON object", REMEDY)
    return value


def index_bytes(index: dict[str, object], where: str) -> int:
    """The bytes of all tensors that a safetensors index tells; BadInput where it tells none."""
    metadata = index.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    if not isinstance(total, int) or isinstance(total, bool) or total <= 0:
        raise _bad(f"{where} tells no metadata.total_size", REMEDY)
    return total


def _weights_bytes(directory: Path) -> int | None:
    """The bytes of the tensors: of the index, else of the files with their small headers."""
    index = directory / "model.safetensors.index.json"
    if os.path.lexists(index):
        return index_bytes(_read(index), str(index))
    found = [file for file in sorted(directory.glob("*.safetensors")) if file.is_file()]
    if any("-of-" in file.name for file in found):
        raise _bad(f"{index} is missing beside {len(found)} shards", REMEDY)
    return sum(map(_tensor_bytes, found)) or None


def _tensor_bytes(file: Path) -> int:
    """The bytes of a safetensors file behind its header, whose length stands in the first 8 bytes."""
    try:
        size = file.stat().st_size
        with file.open("rb") as opened:
            header = int.from_bytes(opened.read(8), "little")
    except OSError as error:
        raise _bad(f"{file} cannot be read: {error}", REMEDY) from None
    if size < 8 + header:
        remedy = "Copy the model again: a download was cut short, or Git left a pointer (`git lfs pull`)."
        raise _bad(f"{file} is no whole safetensors file: {size} bytes, {8 + header} at least", remedy)
    return size - 8 - header


def _bad(what: str, remedy: str) -> BadInput:
    return BadInput([Problem(PATH, what, remedy)])
