"""The list of a model's files with size and SHA-256, and the one digest that stands for all of them."""

import hashlib
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class ModelFile:
    """One file of a model; ``name`` is its path inside the model's directory."""

    name: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """All files of a model, in the order of their names."""

    files: tuple[ModelFile, ...]

    @property
    def digest(self) -> str:
        """SHA-256 (hex) over name, size and content of every file."""
        rows = [[file.name, file.size_bytes, file.sha256] for file in self.files]
        return hashlib.sha256(json.dumps(rows).encode()).hexdigest()

    @property
    def total_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    def to_json(self) -> str:
        """What lies in the bucket as manifest.json and what fetch-weights reads."""
        files = [{"name": f.name, "size": f.size_bytes, "sha256": f.sha256} for f in self.files]
        return json.dumps({"digest": self.digest, "files": files}, indent=1)


def hub_digest(hub_id: str, revision: str) -> str:
    """What stands for a model of the Hugging Face Hub before its files are known."""
    return hashlib.sha256(f"{hub_id}@{revision or 'main'}".encode()).hexdigest()


def manifest_of(directory: Path, cache: Path, say: Callable[[str], None] = lambda _: None) -> Manifest:
    """Hashes every file under ``directory`` but hidden ones; links are followed.

    Files whose path, size and time of change are as in ``cache`` (a JSON file; it may be missing or damaged)
    are not read again. Raises OSError when a file cannot be read.
    """
    known = _read_cache(cache)
    paths = _files(directory)
    keys = {path: _key(path) for path in paths}
    fresh = [path for path in paths if keys[path] not in known]
    if fresh:
        say(f"hashing {len(fresh)} files in {directory}")
        with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
            known |= dict(zip((keys[path] for path in fresh), pool.map(_sha256, fresh), strict=True))
        _write_cache(cache, {key: known[key] for key in keys.values()})
    files = (
        ModelFile(path.relative_to(directory).as_posix(), path.stat().st_size, known[keys[path]])
        for path in paths
    )
    return Manifest(tuple(files))


def _files(directory: Path) -> Sequence[Path]:
    found = (path for path in directory.rglob("*") if path.is_file())
    visible = (p for p in found if not any(part.startswith(".") for part in p.relative_to(directory).parts))
    return sorted(path for path in visible if path.relative_to(directory).as_posix() != MANIFEST)


def _key(path: Path) -> str:
    status = path.stat()
    return f"{path.resolve()}:{status.st_size}:{status.st_mtime_ns}"


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _read_cache(cache: Path) -> dict[str, str]:
    try:
        read = json.loads(cache.read_text())
    except (OSError, ValueError):
        return {}
    return read if isinstance(read, dict) else {}


def _write_cache(cache: Path, known: dict[str, str]) -> None:
    cache.parent.mkdir(parents=True, exist_ok=True)
    temporary = cache.with_name(f"{cache.name}.{os.getpid()}")
    temporary.write_text(json.dumps(known))
    temporary.replace(cache)
