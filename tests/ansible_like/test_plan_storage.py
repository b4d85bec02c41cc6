"""Filesystems as data: blank devices are made, anything else is left as it is."""

from __future__ import annotations

import pytest

from ansible_like.agent.storage import DeviceFacts, MountFacts, StoreFacts, plan_mount, plan_store
from ansible_like.agent.values import Action, MakeDirectory, Plan, Refused, Run, WriteFile
from ansible_like.operations import InstanceStore, Mount

ROOT = "UUID=root / ext4 defaults 0 1\n"
BLANK = MountFacts(
    DeviceFacts(exists=True), mounted="", is_mounted=False, fstab=ROOT, fresh_uuid="u-new", finds_by_uuid=True
)
OP = Mount("/dev/sdf", "/models", "ext4")
LINE = "UUID=u-new /models ext4 defaults,nofail 0 2\n"


def words(plan: Plan) -> list[str]:
    return [_words(action) for action in plan.actions]


def _words(action: Action) -> str:
    if isinstance(action, Run):
        return " ".join(action.argv)
    if isinstance(action, WriteFile):
        return f"write {action.path}"
    assert isinstance(action, MakeDirectory)
    return f"mkdir {action.path}"


def fstab_of(plan: Plan) -> str:
    (write,) = (action for action in plan.actions if isinstance(action, WriteFile))
    return write.content.decode()


def test_a_blank_device_is_formatted_and_mounted_now_and_at_every_boot() -> None:
    plan = plan_mount(OP, BLANK)
    assert words(plan) == [
        "mkfs.ext4 -Uu-new -q /dev/sdf",
        "write /etc/fstab",
        "mkdir /models",
        "mount -t ext4 -o defaults /dev/sdf /models",
    ]
    assert fstab_of(plan) == ROOT + LINE


def test_a_made_filesystem_is_only_mounted_by_its_own_uuid() -> None:
    plan = plan_mount(OP, BLANK._replace(device=DeviceFacts(True, "ext4", "u-old")))
    assert words(plan) == ["write /etc/fstab", "mkdir /models", "mount -t ext4 -o defaults /dev/sdf /models"]
    assert "UUID=u-old /models" in fstab_of(plan)


def test_mounted_and_in_the_table_is_a_no_op() -> None:
    facts = BLANK._replace(
        device=DeviceFacts(True, "ext4", "u-new"), mounted="/dev/sdf", is_mounted=True, fstab=ROOT + LINE
    )
    assert plan_mount(OP, facts).actions == ()


def test_an_old_line_of_the_path_is_replaced_in_its_place() -> None:
    old = "# disks\nUUID=gone /models ext4 defaults 0 2\n" + ROOT
    plan = plan_mount(OP, BLANK._replace(fstab=old))
    assert fstab_of(plan) == "# disks\n" + LINE + ROOT


def test_without_udev_the_device_is_named() -> None:
    plan = plan_mount(OP, BLANK._replace(finds_by_uuid=False))
    assert fstab_of(plan) == ROOT + "/dev/sdf /models ext4 defaults,nofail 0 2\n"


@pytest.mark.parametrize(
    ("op", "facts", "says"),
    [
        (OP, BLANK._replace(device=DeviceFacts(exists=False)), "there is no /dev/sdf"),
        (OP, BLANK._replace(device=DeviceFacts(True, "ntfs")), "holds ntfs, not ext4: it is left as it is"),
        (OP, BLANK._replace(mounted="/dev/sda1"), "/dev/sda1 is mounted at /models"),
        (Mount("/dev/sdf", "/m", "ext4", format_when_blank=False), BLANK, "format_when_blank is off"),
        (Mount("/dev/sdf", "/m", "btrfs"), BLANK, "only ext4 and xfs can be made"),
    ],
)
def test_nothing_is_ever_destroyed(op: Mount, facts: MountFacts, says: str) -> None:
    with pytest.raises(Refused, match=says):
        plan_mount(op, facts)


STORE = InstanceStore(("/dev/nvme1n1", "/dev/nvme2n1"), "/scratch")
BLANK_DISK = DeviceFacts(exists=True)
MEMBER = DeviceFacts(True, "linux_raid_member", "u-array")


def test_blank_disks_become_a_raid_0() -> None:
    plan = plan_store(STORE, StoreFacts((BLANK_DISK, BLANK_DISK), "/dev/md0", BLANK))
    assert words(plan) == [
        "mdadm --create /dev/md0 --run --level=0 --raid-devices=2 /dev/nvme1n1 /dev/nvme2n1"
    ]
    assert plan.again
    member = MEMBER._replace(array="/dev/md0")
    assert words(plan_store(STORE, StoreFacts((member, member), "/dev/md1", BLANK))) == [
        "mkfs.xfs -muuid=u-new -q /dev/md0",
        "write /etc/fstab",
        "mkdir /scratch",
        "mount -t xfs -o defaults,noatime,nofail /dev/md0 /scratch",
    ]


def test_members_of_an_array_that_does_not_run_are_assembled_and_never_formatted() -> None:
    plan = plan_store(STORE, StoreFacts((MEMBER, MEMBER), "/dev/md0", BLANK))
    assert words(plan) == ["mdadm --assemble --run /dev/md0 /dev/nvme1n1 /dev/nvme2n1"]
    assert plan.again


def test_a_running_array_is_used_by_the_name_that_it_has() -> None:
    member = MEMBER._replace(array="/dev/md127")
    mount = BLANK._replace(
        device=DeviceFacts(True, "xfs", "u-new"),
        mounted="/dev/md127",
        is_mounted=True,
        fstab=ROOT + "UUID=u-new /scratch xfs defaults,noatime,nofail 0 2\n",
    )
    assert plan_store(STORE, StoreFacts((member, member), "/dev/md0", mount)).actions == ()


def test_one_disk_needs_no_array() -> None:
    op = InstanceStore(("/dev/nvme1n1",), "/scratch")
    plan = plan_store(op, StoreFacts((BLANK_DISK,), "/dev/md0", BLANK))
    assert words(plan)[0] == "mkfs.xfs -muuid=u-new -q /dev/nvme1n1"
    assert not any("mdadm" in each for each in words(plan))


@pytest.mark.parametrize(
    ("devices", "says"),
    [
        ((BLANK_DISK, DeviceFacts(exists=False)), "there is no /dev/nvme2n1"),
        ((BLANK_DISK, DeviceFacts(True, "ext4")), "/dev/nvme2n1 holds ext4"),
        ((BLANK_DISK, MEMBER), "/dev/nvme2n1 holds linux_raid_member"),
        ((MEMBER._replace(array="/dev/md1"), MEMBER._replace(array="/dev/md2")), "different arrays"),
        ((MEMBER._replace(array="/dev/md1"), BLANK_DISK), "different arrays"),
    ],
)
def test_no_disk_that_holds_something_is_taken(devices: tuple[DeviceFacts, ...], says: str) -> None:
    with pytest.raises(Refused, match=says):
        plan_store(STORE, StoreFacts(devices, "/dev/md0", BLANK))
