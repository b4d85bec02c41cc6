"""Where the models lie: the instance store, else the data volume, else the root volume; always at /models."""

from pathlib import PurePosixPath

from ansible_like.operations import (
    Command,
    Directory,
    File,
    InstanceStore,
    Link,
    Mount,
    Operation,
    Package,
    Service,
)
from bootstrap.rendering import render
from bootstrap.specs import NodeSpec

DLAMI_STORE = "/opt/dlami/nvme"


def storage(spec: NodeSpec) -> list[Operation]:
    """The file system at the model directory's parent."""
    models = str(PurePosixPath(spec.model_dir).parent)
    if spec.instance_store_disks and spec.image_has_driver:
        # The Deep Learning AMI stripes and mounts the instance store itself at each boot.
        return [
            Command(("systemctl", "start", "dlami-nvme.service"), unless=("mountpoint", "-q", DLAMI_STORE)),
            Directory(f"{DLAMI_STORE}/models"),
            Link(models, f"{DLAMI_STORE}/models"),
        ]
    if spec.instance_store_disks:
        devices = tuple(f"/dev/drydock/instance-store-{disk}" for disk in range(spec.instance_store_disks))
        return [
            Package(("mdadm", "xfsprogs")),
            *_names("--instance-store", str(spec.instance_store_disks)),
            InstanceStore(devices, models),
        ]
    if spec.data_device:
        return [*_names("--data", spec.data_device), Mount("/dev/drydock/data", models, "ext4")]
    return [Directory(models)]


def _names(*arguments: str) -> list[Operation]:
    """Names for the disks, now and at every boot before they are mounted."""
    tool, unit = "/opt/drydock/bin/name-disks", "/etc/systemd/system/drydock-disks.service"
    return [
        File(unit, render(unit, argv=[tool, *arguments])),
        Service("drydock-disks.service", running=True, enabled=True, restart_when_changed=(unit,)),
    ]
