"""What fetch-weights and fill-bucket share: where a model lies, its manifest, and what a disk has of it."""

import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

PART_BYTES = 64 << 20  # large enough that a request's set-up does not count, small enough to resume well
FLOWS_MAX = 64  # S3 gives one flow about 90 MB/s
RESERVE_BYTES = 64 << 20  # left free on the file system beside the weights
MANIFEST = "manifest.json"
MIB = 1 << 20


class FetchError(Exception):
    """The fetch cannot go on; the text says why and what to do."""


@dataclass(frozen=True)
class Source:
    bucket: str
    prefix: str
    region: str

    def key(self, name: str) -> str:
        return f"{self.prefix.rstrip('/')}/{name}" if self.prefix else name

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"


@dataclass(frozen=True)
class Entry:
    """One file of the model."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class Part:
    entry: Entry
    start: int
    size: int


def client(region: str) -> Any:
    config = Config(
        retries={"max_attempts": 8, "mode": "standard"},
        max_pool_connections=FLOWS_MAX,
        connect_timeout=10,
        read_timeout=60,
    )
    return boto3.client("s3", region_name=region or None, config=config)


def progress(text: str) -> None:
    print(f"PROGRESS {text}", flush=True)


def read_manifest(source: Source) -> dict[str, Any] | None:
    """The bucket's manifest, or None while there is none."""
    try:
        body = client(source.region).get_object(Bucket=source.bucket, Key=source.key(MANIFEST))["Body"].read()
    except ClientError as error:
        if error.response["Error"]["Code"] in {"NoSuchKey", "404"}:
            return None
        raise
    manifest: dict[str, Any] = json.loads(body)
    return manifest


def entries_of(manifest: dict[str, Any]) -> list[Entry]:
    entries = [Entry(file["name"], int(file["size"]), file["sha256"]) for file in manifest["files"]]
    for entry in entries:
        path = Path(entry.name)
        if path.is_absolute() or ".." in path.parts:
            raise FetchError(f"the manifest names {entry.name!r}, which lies outside the model's directory")
    return entries


def is_complete(destination: Path, digest: str) -> bool:
    """Whether an earlier run brought exactly these weights; a deleted or cut file makes it False."""
    try:
        manifest = json.loads((destination / f".{MANIFEST}").read_text())
        sizes = all((destination / e.name).stat().st_size == e.size for e in entries_of(manifest))
    except (OSError, ValueError, KeyError):
        return False
    return bool(manifest["digest"] == digest and sizes)


def parts_of(entry: Entry) -> Iterator[Part]:
    for start in range(0, entry.size, PART_BYTES):
        yield Part(entry, start, min(PART_BYTES, entry.size - start))


def journal(partial: Path, entry: Entry) -> Path:
    """Where the finished parts of a file are written down, by their start; named by content."""
    return partial / ".parts" / entry.sha256


def finish(partial: Path, entry: Entry, starts: list[int]) -> None:
    log = journal(partial, entry)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        file.write("".join(f"{start}\n" for start in starts))


def check_space(directory: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(directory).free
    if needed_bytes + RESERVE_BYTES > free_bytes:
        raise FetchError(
            f"disk full: the weights need {needed_bytes / MIB:,.0f} MiB more in {directory.parent}, which "
            f"has {free_bytes / MIB:,.0f} MiB free ({RESERVE_BYTES // MIB} MiB of them stay in reserve).\n"
            "Raise drydock:nodes.dataVolumeGib, take an instance type with a larger instance store, or "
            f"remove old models from {directory.parent}."
        )


def sha256_of(paths: list[Path]) -> list[str]:
    """The SHA-256 of each file, several at once."""
    with ThreadPoolExecutor(min(16, os.cpu_count() or 1)) as pool:
        return list(pool.map(_sha256, paths))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def partial_of(destination: Path) -> Path:
    """Where the files are until all of them are checked."""
    return destination.with_name(f"{destination.name}.partial")


@contextmanager
def alone(destination: Path) -> Iterator[None]:
    """One run at a time: one whose controller was killed may still be at work, and is let finish."""
    destination.parent.mkdir(parents=True, exist_ok=True)
    with destination.with_name(f".{destination.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _take_login_environment() -> None:
    """What a login has from /etc/environment (endpoints, proxies) and a process under sudo has not."""
    path = Path("/etc/environment")
    lines = path.read_text().splitlines() if path.is_file() else []
    for name, mark, value in (line.partition("=") for line in lines if not line.startswith("#")):
        if mark:
            os.environ.setdefault(name.strip(), value.strip().strip("\"'"))


def exit_code(tool: str, work: Callable[[], None]) -> int:
    """Does the work; 1 with the reason on standard error where it fails."""
    _take_login_environment()
    try:
        work()
    except FetchError as error:
        print(f"{tool}: {error}", file=sys.stderr)
    except (BotoCoreError, ClientError) as error:
        print(
            f"{tool}: S3 refused or was not reached: {error}\n"
            "Check the instance profile's policy for the bucket and the route to S3 from this subnet.",
            file=sys.stderr,
        )
    except OSError as error:
        print(f"{tool}: {error}", file=sys.stderr)
    else:
        return 0
    return 1
