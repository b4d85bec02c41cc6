"""Filesystems on block devices: blank ones are made, anything else is left as it is."""

from __future__ import annotations

import os
import uuid
from pathlib import Path
from typing import NamedTuple

from ansible_like.agent import host
from ansible_like.agent.values import Action, MakeDirectory, Plan, Refused, Run, WriteFile, nothing
from ansible_like.operations import InstanceStore, Mount

FSTAB = "/etc/fstab"
MKFS_S = 600
BLKID_FOUND_NOTHING = 2


class DeviceFacts(NamedTuple):
    exists: bool
    filesystem: str = ""
    """What blkid finds on it; empty: blank."""
    uuid: str = ""
    array: str = ""
    """The running md array (``/dev/md…``) that the device is part of."""


class MountFacts(NamedTuple):
    device: DeviceFacts
    mounted: str
    """What is mounted at the path; empty: nothing."""
    is_mounted: bool
    """It is the wanted device."""
    fstab: str
    fresh_uuid: str
    """For a filesystem that is to be made."""
    finds_by_uuid: bool
    """udev runs here, so that systemd can mount by UUID at boot; in a container it does not."""


class StoreFacts(NamedTuple):
    devices: tuple[DeviceFacts, ...]
    free_array: str
    """An md device name that is not in use."""
    mount: MountFacts
    """Of the device that is or will be mounted: the array, or the one disk."""


def read_mount(op: Mount) -> MountFacts:
    mounted = host.read(("findmnt", "--noheadings", "--output=SOURCE", "--mountpoint", op.path)).stdout
    return MountFacts(
        device=read_device(op.device),
        mounted=mounted.strip(),
        is_mounted=bool(mounted.strip()) and _same_device(op.device, op.path),
        fstab=Path(FSTAB).read_text() if Path(FSTAB).exists() else "",
        fresh_uuid=str(uuid.uuid4()),
        finds_by_uuid=Path("/run/udev/control").exists(),
    )


def read_device(path: str) -> DeviceFacts:
    if not Path(path).exists():
        return DeviceFacts(exists=False)
    probe = host.read(("blkid", "--probe", "--output=export", path))
    if probe.exit_code not in (0, BLKID_FOUND_NOTHING):
        raise Refused(f"`blkid {path}` can't tell what is on it: {probe.last_lines or probe.exit_code}")
    values = dict(line.split("=", 1) for line in probe.stdout.splitlines() if "=" in line)
    name = Path(os.path.realpath(path)).name
    arrays = sorted(holder.name for holder in Path(f"/sys/class/block/{name}/holders").glob("md*"))
    return DeviceFacts(
        exists=True,
        filesystem=values.get("TYPE", values.get("PTTYPE", "")),
        uuid=values.get("UUID", ""),
        array=f"/dev/{arrays[0]}" if arrays else "",
    )


def read_store(op: InstanceStore) -> StoreFacts:
    devices = tuple(read_device(device) for device in op.devices)
    used = {path.name for path in Path("/sys/class/block").glob("md*")}
    free = next(f"/dev/md{number}" for number in range(128) if f"md{number}" not in used)
    return StoreFacts(devices, free, read_mount(_mount_of(op, devices, free)))


def plan_mount(op: Mount, facts: MountFacts) -> Plan:
    """Make the filesystem where blank, mount it, and give fstab one line for the path."""
    device = facts.device
    if not device.exists:
        raise Refused(f"there is no {op.device}: wait for its path before this step if it is attached late")
    if facts.mounted and not facts.is_mounted:
        raise Refused(
            f"{facts.mounted} is mounted at {op.path}, not {op.device}: unmount it, or choose another path"
        )
    if device.filesystem not in ("", op.filesystem):
        raise Refused(f"{op.device} holds {device.filesystem}, not {op.filesystem}: it is left as it is")
    if not device.filesystem and not op.format_when_blank:
        raise Refused(f"{op.device} is blank and format_when_blank is off")
    actions: list[Action] = []
    diffs: list[str] = []
    filesystem_uuid = device.uuid
    if not device.filesystem:
        filesystem_uuid = facts.fresh_uuid
        actions.append(_make_filesystem(op, filesystem_uuid))
        diffs.append(f"+ {op.filesystem} on {op.device}")
    source = f"UUID={filesystem_uuid}" if facts.finds_by_uuid else op.device
    fstab = _fstab_with(facts.fstab, op, source)
    if fstab != facts.fstab:
        actions.append(WriteFile(FSTAB, fstab.encode(), 0o644, "root", "root"))
        diffs.append(f"+ {_fstab_line(op, source)}")
    if not facts.mounted:
        actions.append(MakeDirectory(op.path))
        actions.append(Run(("mount", "-t", op.filesystem, "-o", op.options, op.device, op.path)))
        diffs.append(f"+ {op.device} at {op.path}")
    if not actions:
        return nothing(f"{op.device} is mounted")
    return Plan(tuple(actions), "mount", "\n".join(diffs))


def plan_store(op: InstanceStore, facts: StoreFacts) -> Plan:
    """One disk as it is; several as a RAID 0: found running, assembled again, or made when all are blank."""
    for path, device in _pairs(op, facts):
        if not device.exists:
            raise Refused(f"there is no {path}: has this instance type so many disks?")
    mount = _mount_of(op, facts.devices, facts.free_array)
    if len(op.devices) == 1:
        return plan_mount(mount, facts.mount)
    arrays = {device.array for device in facts.devices}
    if arrays != {""}:
        if len(arrays) != 1:
            raise Refused(f"{', '.join(op.devices)} belong to different arrays: {', '.join(sorted(arrays))}")
        return plan_mount(mount, facts.mount)
    kinds = {device.filesystem for device in facts.devices}
    if kinds == {"linux_raid_member"}:
        argv: tuple[str, ...] = ("mdadm", "--assemble", "--run", mount.device, *op.devices)
    elif kinds == {""}:
        count = f"--raid-devices={len(op.devices)}"
        argv = ("mdadm", "--create", mount.device, "--run", "--level=0", count, *op.devices)
    else:
        held = [f"{path} holds {each.filesystem}" for path, each in _pairs(op, facts) if each.filesystem]
        raise Refused(f"{'; '.join(held)}: they are left as they are")
    diff = f"+ {mount.device} of {', '.join(op.devices)} at {op.path}"
    return Plan((Run(argv, deadline_s=MKFS_S),), "array", diff, again=True)


def _mount_of(op: InstanceStore, devices: tuple[DeviceFacts, ...], free_array: str) -> Mount:
    array = next((device.array for device in devices if device.array), free_array)
    device = op.devices[0] if len(op.devices) == 1 else array
    return Mount(device, op.path, op.filesystem, options="defaults,noatime,nofail")


def _pairs(op: InstanceStore, facts: StoreFacts) -> list[tuple[str, DeviceFacts]]:
    return [(path, facts.devices[index]) for index, path in enumerate(op.devices)]


def _same_device(device: str, mount_point: str) -> bool:
    """By number, as one device has many names."""
    try:
        return Path(device).stat().st_rdev == Path(mount_point).stat().st_dev
    except OSError:
        return False


def _make_filesystem(op: Mount, filesystem_uuid: str) -> Run:
    option: str | None = {"ext4": f"-U{filesystem_uuid}", "xfs": f"-muuid={filesystem_uuid}"}.get(
        op.filesystem
    )
    if option is None:
        raise Refused(f"{op.device} is blank, and only ext4 and xfs can be made here, not {op.filesystem}")
    return Run((f"mkfs.{op.filesystem}", option, "-q", op.device), deadline_s=MKFS_S)


def _fstab_line(op: Mount, source: str) -> str:
    options = op.options.split(",")
    # a disk that doesn't come must not keep the host from booting: without ssh nobody could mend it
    with_nofail = op.options if "nofail" in options else f"{op.options},nofail"
    return f"{source} {op.path} {op.filesystem} {with_nofail} 0 2"


def _fstab_with(text: str, op: Mount, source: str) -> str:
    """The table with one line for the path: in the place of the old one, or at the end."""
    wanted = _fstab_line(op, source)
    lines = text.splitlines()
    places = [
        index
        for index, line in enumerate(lines)
        if not line.lstrip().startswith("#") and line.split()[1:2] == [op.path]
    ]
    kept = [line for index, line in enumerate(lines) if index not in places]
    kept.insert(places[0] if places else len(kept), wanted)
    return "\n".join(kept) + "\n"
