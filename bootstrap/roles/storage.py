"""Where the models lie: the instance store, else the data volume, else the root volume; always at /models."""

from pathlib import PurePosixPath

from ansible_like.operations import Command, Directory, InstanceStore, Link, Mount, Operation, Package
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
            _name_disks("--instance-store", str(spec.instance_store_disks)),
            InstanceStore(devices, models),
        ]
    if spec.data_device:
        return [
            _name_disks("--data", spec.data_device),
            Mount("/dev/drydock/data", models, "ext4"),
        ]
    return [Directory(models)]


def _name_disks(*arguments: str) -> Command:
    """Gives the disks names that do not depend on the order in which the kernel found them."""
    tool = "/opt/drydock/bin/name-disks"
    return Command((tool, *arguments), unless=(tool, "--check", *arguments))
