"""The node's fetch-weights as a process against a real S3 API on the loopback."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from bootstrap.manifest import Manifest, manifest_of
from bootstrap.rendering import TEMPLATES
from bootstrap.weights import Place, delete_all, remote_digest, upload
from bootstrap.work import Work
from cluster.problems import Failure

TOOL = TEMPLATES / "opt/drydock/bin/fetch-weights"
PART_BYTES = 1 << 20
BUCKET = "weights"


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@dataclass(frozen=True)
class Bench:
    """A model on the controller, its bucket, and a node's disk."""

    model: Path
    manifest: Manifest
    place: Place
    disk: Path
    tool: Path
    said: list[str]

    @property
    def destination(self) -> Path:
        return self.disk / "tiny"

    @property
    def partial(self) -> Path:
        return self.disk / "tiny.partial"

    def put(self, name: str, body: bytes) -> None:
        self.place.client().put_object(Bucket=BUCKET, Key=self.place.key(name), Body=body)

    def fetch(
        self, *more: str, digest: str = "", tool: Path | None = None
    ) -> subprocess.CompletedProcess[str]:
        argv = [
            str(tool or self.tool),
            "--digest",
            digest or self.manifest.digest,
            "--destination",
            str(self.destination),
        ]
        argv += [
            "--bucket",
            BUCKET,
            "--prefix",
            self.place.prefix,
            "--region",
            "us-east-1",
            "--flows",
            "2",
            *more,
        ]
        return subprocess.run([sys.executable, *argv], capture_output=True, text=True, check=False)


@pytest.fixture
def bench(
    tmp_path: Path, endpoint: str, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Bench:
    environment = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "s"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3", region_name="us-east-1").create_bucket(Bucket=BUCKET)
    model = tmp_path / "model"
    (model / "deep").mkdir(parents=True)
    (model / "config.json").write_text('{"hidden_size": 8}')
    (model / "deep" / "model.safetensors").write_bytes(os.urandom(PART_BYTES + 12345))
    (model / "empty.txt").write_text("")
    (model / ".cache").mkdir()
    (model / ".cache" / "lock").write_text("not part of the model")
    manifest = manifest_of(model, tmp_path / "cache.json")
    said: list[str] = []
    place = Place(BUCKET, request.node.name, "us-east-1")
    upload(model, manifest, place, Work(said.append, 60))
    (tmp_path / "disk").mkdir()
    # The tool as it is, but with parts so small that tests are quick.
    tools = tmp_path / "drydock"
    shutil.copytree(TOOL.parents[1], tools, ignore=shutil.ignore_patterns("__pycache__"))
    library = tools / "lib" / "model_files.py"
    text = library.read_text()
    assert "PART_BYTES = 64 << 20" in text
    library.write_text(text.replace("PART_BYTES = 64 << 20", "PART_BYTES = 1 << 20"))
    tool = tools / "bin" / "fetch-weights"
    return Bench(model, manifest, place, tmp_path / "disk", tool, said)


def content(directory: Path) -> dict[str, bytes]:
    files = (path for path in directory.rglob("*") if path.is_file())
    named = {path.relative_to(directory).as_posix(): path.read_bytes() for path in files}
    return {name: body for name, body in named.items() if not name.startswith(".")}


def test_brings_all_files_and_tells_its_progress(bench: Bench) -> None:
    done = bench.fetch()
    assert done.returncode == 0, done.stderr
    assert content(bench.destination) == content(bench.model)
    assert "PROGRESS weights 3/3 files, 1 of 1 MiB" in done.stdout
    assert not bench.partial.exists()


def test_does_nothing_when_the_weights_are_there(bench: Bench) -> None:
    assert bench.fetch("--check").returncode == 1
    bench.fetch()
    inode = (bench.destination / "config.json").stat().st_ino
    again = bench.fetch()
    assert "already in" in again.stdout
    assert (bench.destination / "config.json").stat().st_ino == inode
    assert bench.fetch("--check").returncode == 0


def test_a_file_lost_from_the_disk_is_noticed(bench: Bench) -> None:
    bench.fetch()
    (bench.destination / "config.json").unlink()
    assert bench.fetch("--check").returncode == 1
    assert bench.fetch().returncode == 0
    assert content(bench.destination) == content(bench.model)


def test_resumes_and_takes_no_part_twice(bench: Bench) -> None:
    """A run was cut off after the first part of the large file; the bucket's copy of that part changes."""
    name = "deep/model.safetensors"
    body = (bench.model / name).read_bytes()
    half = bench.partial / name
    half.parent.mkdir(parents=True)
    half.write_bytes(body[:PART_BYTES])
    os.truncate(half, len(body))
    journal = bench.partial / ".parts" / next(f.sha256 for f in bench.manifest.files if f.name == name)
    journal.parent.mkdir()
    journal.write_text("0\n")
    bench.put(name, b"\0" * PART_BYTES + body[PART_BYTES:])
    done = bench.fetch()
    assert done.returncode == 0, done.stderr
    assert content(bench.destination) == content(bench.model)


@pytest.mark.parametrize("size", [0, PART_BYTES])
def test_a_torn_file_begins_anew(bench: Bench, size: int) -> None:
    """The journal says that all is there, but the file was cut short or holds other bytes."""
    name = "deep/model.safetensors"
    torn = bench.partial / name
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"\0" * size)
    if size:
        os.truncate(torn, PART_BYTES + 12345)
    journal = bench.partial / ".parts" / next(f.sha256 for f in bench.manifest.files if f.name == name)
    journal.parent.mkdir()
    journal.write_text(f"0\n{PART_BYTES}\n")
    done = bench.fetch()
    assert done.returncode == 0, done.stderr
    assert content(bench.destination) == content(bench.model)


def test_other_bytes_than_the_manifest_says_are_refused(bench: Bench) -> None:
    bench.put("config.json", b'{"hidden_size": 9}')
    done = bench.fetch()
    assert done.returncode == 1
    assert "config.json: SHA-256" in done.stderr
    assert "pulumi up --refresh" in done.stderr
    assert not bench.destination.exists()


def test_a_full_disk_is_seen_before_anything_is_fetched(bench: Bench) -> None:
    huge = {"name": "huge.safetensors", "size": 1 << 42, "sha256": "0" * 64}
    bench.put("manifest.json", json.dumps({"digest": "huge", "files": [huge]}).encode())
    done = bench.fetch(digest="huge", tool=TOOL)
    assert done.returncode == 1
    assert "disk full: the weights need 4,194,304 MiB more" in done.stderr
    assert "drydock:nodes.dataVolumeGib" in done.stderr


def test_new_weights_replace_the_old_and_share_what_is_the_same(bench: Bench) -> None:
    bench.fetch()
    large = (bench.destination / "deep" / "model.safetensors").stat().st_ino
    (bench.model / "config.json").write_text('{"hidden_size": 16}')
    (bench.model / "empty.txt").unlink()
    manifest = manifest_of(bench.model, bench.disk / "cache.json")
    upload(bench.model, manifest, bench.place, Work(bench.said.append, 60))
    done = bench.fetch(digest=manifest.digest)
    assert done.returncode == 0, done.stderr
    assert content(bench.destination) == content(bench.model)
    assert (bench.destination / "deep" / "model.safetensors").stat().st_ino == large
    assert not bench.destination.with_name("tiny.old").exists()


def test_a_cut_off_change_leaves_the_weights_in_service_untouched(bench: Bench) -> None:
    """A run that was cut off had linked an old file that the next weights have with other content."""
    bench.fetch()
    before = content(bench.destination)
    bench.partial.mkdir()
    (bench.partial / "config.json").hardlink_to(bench.destination / "config.json")
    bench.put("config.json", b'{"hidden_size": 9}')
    served = (bench.destination / "config.json").open("rb")
    changed = {"name": "config.json", "size": 18, "sha256": hashlib.sha256(b'{"hidden_size": 9}').hexdigest()}
    bench.put("manifest.json", json.dumps({"digest": "next", "files": [changed]}).encode())
    assert bench.fetch(digest="next").returncode == 0
    assert content(bench.destination) == {"config.json": b'{"hidden_size": 9}'}
    with served:
        assert served.read() == before["config.json"]


def test_waits_for_the_manifest_no_longer_than_its_deadline(bench: Bench) -> None:
    done = bench.fetch("--deadline-s", "0", digest="e" * 64)
    assert done.returncode == 1
    assert f"s3://{BUCKET}/" in done.stderr
    assert "other weights" in done.stderr


def test_a_bucket_that_is_not_there_is_named(bench: Bench) -> None:
    done = bench.fetch("--bucket", "no-such-bucket")
    assert done.returncode == 1
    assert "NoSuchBucket" in done.stderr


def test_a_path_out_of_the_directory_is_refused(bench: Bench) -> None:
    evil = {"name": "../../etc/passwd", "size": 1, "sha256": "0" * 64}
    bench.put("manifest.json", json.dumps({"digest": "evil", "files": [evil]}).encode())
    done = bench.fetch(digest="evil")
    assert done.returncode == 1
    assert "outside the model's directory" in done.stderr


def test_upload_sends_only_what_the_bucket_lacks(bench: Bench) -> None:
    s3 = bench.place.client()
    before = s3.head_object(Bucket=BUCKET, Key=bench.place.key("empty.txt"))["LastModified"]
    bench.put("config.json", b"damaged")
    upload(bench.model, bench.manifest, bench.place, Work(bench.said.append, 60))
    assert bench.fetch().returncode == 0
    assert s3.head_object(Bucket=BUCKET, Key=bench.place.key("empty.txt"))["LastModified"] == before
    assert bench.said[-1] == "weights 3/3 files, 1 of 1 MiB uploaded"


def test_a_cancelled_upload_leaves_no_manifest(bench: Bench) -> None:
    (bench.model / "config.json").write_text("{}")
    manifest = manifest_of(bench.model, bench.disk / "cache.json")
    work = Work(bench.said.append, 60)
    work.cancelled.set()
    with pytest.raises(Failure, match="cancelled"):
        upload(bench.model, manifest, bench.place, work)
    assert remote_digest(bench.place) == ""


def test_delete_leaves_no_version_behind(bench: Bench) -> None:
    s3 = bench.place.client()
    s3.put_bucket_versioning(Bucket=BUCKET, VersioningConfiguration={"Status": "Enabled"})
    bench.put("config.json", b"newer")
    s3.delete_object(Bucket=BUCKET, Key=bench.place.key("config.json"))
    assert delete_all(bench.place) >= 4
    versions = s3.list_object_versions(Bucket=BUCKET, Prefix=bench.place.prefix)
    assert not versions.get("Versions") and not versions.get("DeleteMarkers")
    assert delete_all(Place("no-such-bucket", "", "us-east-1")) == 0
