"""Disks of nodes: a sparse file and a loop device for each."""

import json
from pathlib import Path

from rehearsal.cloud import places
from rehearsal.cloud.instances import Disk
from rehearsal.cloud.shell import attempt, run


def attach(disk: Disk) -> Path:
    """The disk's loop device, made where it is not there yet; what was written before is still on it."""
    image = image_path(disk.volume_id)
    if (device := devices().get(image)) is not None:
        return device
    if not image.exists():
        image.parent.mkdir(parents=True, exist_ok=True)
        with image.open("xb") as file:
            file.truncate(disk.size_gib * 2**30)
    return Path(run("losetup", "--find", "--show", str(image)).strip())


def attach_root(disk: Disk) -> Path:
    """As `attach`, with an ext4 file system on it from the first time on."""
    fresh = not image_path(disk.volume_id).exists()
    device = attach(disk)
    if fresh:
        run("mkfs.ext4", "-q", "-m", "0", "-E", "nodiscard", str(device))
    return device


def detach(volume_id: str) -> None:
    """Lets the loop device go; the file with its content stays."""
    if (device := devices().get(image_path(volume_id))) is not None:
        run("losetup", "--detach", str(device))


def delete(volume_id: str) -> None:
    detach(volume_id)
    image_path(volume_id).unlink(missing_ok=True)


def stored() -> frozenset[str]:
    """Ids of the volumes that have a file here."""
    return (
        frozenset(path.stem for path in places.VOLUMES.glob("*.img"))
        if places.VOLUMES.exists()
        else frozenset()
    )


def devices(folder: Path = places.CLOUD) -> dict[Path, Path]:
    """The loop devices whose file lies under `folder`: file → device."""
    listed = json.loads(
        run("losetup", "--json", "--list", "--output", "NAME,BACK-FILE") or '{"loopdevices": []}'
    )
    found = {}
    for row in listed["loopdevices"]:
        file = Path(str(row["back-file"]).removesuffix(" (deleted)"))
        if file.is_relative_to(folder):
            found[file] = Path(row["name"])
    return found


def release_all() -> list[str]:
    """Detaches every loop device of the cloud; what was detached."""
    return [
        f"loop device {device} of {file.name}"
        for file, device in devices().items()
        if attempt("losetup", "--detach", str(device))
    ]


def image_path(volume_id: str) -> Path:
    return places.VOLUMES / f"{volume_id}.img"
