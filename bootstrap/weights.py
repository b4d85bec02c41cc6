"""The bucket's copy of a model: uploaded by the controller, or filled by the first node from the hub."""

import hashlib
import json
import os
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

from bootstrap.manifest import MANIFEST, Manifest, ModelFile, manifest_of
from bootstrap.work import Work

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

MIB = 1 << 20
FILES_AT_ONCE = 8
DELETED_AT_ONCE = 1000  # S3's own limit for one request
_MISSING = {"404", "NoSuchKey", "NoSuchBucket"}


@dataclass(frozen=True)
class Place:
    """Where in S3 a model lies."""

    bucket: str
    prefix: str
    region: str

    def client(self) -> "S3Client":
        """A client of its own; AWS_ENDPOINT_URL and the usual credentials are honoured."""
        config = Config(max_pool_connections=64, retries={"max_attempts": 8, "mode": "standard"})
        return boto3.client("s3", region_name=self.region, config=config)

    def key(self, name: str) -> str:
        return f"{self.prefix.rstrip('/')}/{name}" if self.prefix else name


def local_manifest(directory: Path, work: Work | None = None) -> Manifest:
    """The manifest of a directory on the controller, with the digests that an earlier call worked out."""
    root = Path(os.environ.get("DRYDOCK_CACHE") or Path.home() / ".cache" / "drydock")
    name = hashlib.sha256(str(directory.resolve()).encode()).hexdigest()[:16]
    return manifest_of(directory, root / "manifests" / f"{name}.json", work.step if work else lambda _: None)


def remote_digest(place: Place) -> str:
    """The digest of the bucket's manifest; empty while it has none."""
    try:
        body = place.client().get_object(Bucket=place.bucket, Key=place.key(MANIFEST))["Body"].read()
    except ClientError as error:
        if _code(error) in _MISSING:
            return ""
        raise
    return str(json.loads(body)["digest"])


def upload(directory: Path, manifest: Manifest, place: Place, work: Work) -> None:
    """Brings the bucket to exactly this manifest: only what it lacks is sent, the manifest comes last.

    While files change, the bucket has no manifest, so that no node takes half of the old and half of the new.
    """
    s3 = place.client()
    if remote_digest(place) != manifest.digest:
        s3.delete_object(Bucket=place.bucket, Key=place.key(MANIFEST))
    counter = _Counter(manifest, work)

    def send(file: ModelFile) -> None:
        work.check()
        if not _is_there(s3, place, file):
            extra = {"Metadata": {"sha256": file.sha256}}
            source, key = str(directory / file.name), place.key(file.name)
            s3.upload_file(source, place.bucket, key, ExtraArgs=extra, Callback=lambda _: work.check())
        counter.add(file)

    with ThreadPoolExecutor(FILES_AT_ONCE) as pool:
        list(pool.map(send, manifest.files))
    s3.put_object(Bucket=place.bucket, Key=place.key(MANIFEST), Body=manifest.to_json().encode())
    wanted = {place.key(file.name) for file in manifest.files} | {place.key(MANIFEST)}
    _delete(s3, place, [(key, version) for key, version in _versions(s3, place) if key not in wanted])


def delete_all(place: Place) -> int:
    """Deletes every version of every object under the prefix; returns how many. A missing bucket is fine."""
    s3 = place.client()
    try:
        versions = _versions(s3, place)
    except ClientError as error:
        if _code(error) in _MISSING:
            return 0
        raise
    _delete(s3, place, versions)
    return len(versions)


class _Counter:
    """Tells "weights 3/5 files, 12 of 34 MiB" as files arrive from several threads."""

    def __init__(self, manifest: Manifest, work: Work) -> None:
        self._manifest, self._work, self._lock = manifest, work, threading.Lock()
        self._files = self._bytes = 0

    def add(self, file: ModelFile) -> None:
        with self._lock:
            self._files += 1
            self._bytes += file.size_bytes
            total = self._manifest.total_bytes
            self._work.say(
                f"weights {self._files}/{len(self._manifest.files)} files, "
                f"{self._bytes / MIB:,.0f} of {total / MIB:,.0f} MiB uploaded"
            )


def _is_there(s3: "S3Client", place: Place, file: ModelFile) -> bool:
    try:
        head = s3.head_object(Bucket=place.bucket, Key=place.key(file.name))
    except ClientError as error:
        if _code(error) in _MISSING:
            return False
        raise
    return head["ContentLength"] == file.size_bytes and head["Metadata"].get("sha256") == file.sha256


def _versions(s3: "S3Client", place: Place) -> list[tuple[str, str]]:
    prefix = place.key("") if place.prefix else ""
    found: list[tuple[str, str]] = []
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=place.bucket, Prefix=prefix):
        found += [(each["Key"], each["VersionId"]) for each in page.get("Versions", [])]
        found += [(each["Key"], each["VersionId"]) for each in page.get("DeleteMarkers", [])]
    return found


def _delete(s3: "S3Client", place: Place, versions: list[tuple[str, str]]) -> None:
    for start in range(0, len(versions), DELETED_AT_ONCE):
        batch = versions[start : start + DELETED_AT_ONCE]
        objects = [{"Key": key, "VersionId": version} for key, version in batch]
        s3.delete_objects(Bucket=place.bucket, Delete={"Objects": objects, "Quiet": True})  # type: ignore[typeddict-item]


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
