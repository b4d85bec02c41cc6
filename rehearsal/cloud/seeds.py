"""What a region has before anybody made anything: images, and the parameters that name them."""

from collections.abc import Mapping
from dataclasses import dataclass

from moto.core.utils import utcnow
from moto.ec2.models import ec2_backends
from moto.ec2.models.amis import Ami
from moto.ssm.models import Parameter, ssm_backends

from rehearsal.cloud.launch import stable_hex
from rehearsal.cloud.places import ACCOUNT

AMAZON, CANONICAL = "898082745236", "099720109477"
DLAMI = "/aws/service/deeplearning/ami/x86_64/base-oss-nvidia-driver-gpu-ubuntu-{}/latest/ami-id"


@dataclass(frozen=True)
class Image:
    """A machine image and the public parameter that names its newest version."""

    parameter: str
    name: str
    owner: str


IMAGES = (
    Image("/drydock/rehearsal/ami-id", "drydock-rehearsal-node", ACCOUNT),
    Image(
        DLAMI.format("22.04"), "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 22.04) 20261101", AMAZON
    ),
    Image(
        DLAMI.format("24.04"), "Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu 24.04) 20261101", AMAZON
    ),
    Image(
        "/aws/service/canonical/ubuntu/server/22.04/stable/current/amd64/hvm/ebs-gp2/ami-id",
        "ubuntu/images/hvm-ssd/ubuntu-jammy-22.04-amd64-server-20261101",
        CANONICAL,
    ),
    Image(
        "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id",
        "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-amd64-server-20261101",
        CANONICAL,
    ),
)


def image_ids(region: str) -> Mapping[str, str]:
    """Parameter → image id in this region; the same at every start."""
    return {image.parameter: f"ami-{stable_hex(region, image.parameter)}" for image in IMAGES}


def plant(region: str) -> bool:
    """Puts the images and parameters into the region; whether they were missing. Unknown regions get none."""
    regions = ec2_backends[ACCOUNT]
    if region not in regions or regions[region].amis.keys() >= set(image_ids(region).values()):
        return False
    for image in IMAGES:
        ami_id = image_ids(region)[image.parameter]
        regions[region].amis[ami_id] = Ami(
            regions[region],
            ami_id,
            name=image.name,
            description=image.name,
            owner_id=image.owner,
            public=True,
            virtualization_type="hvm",
            architecture="x86_64",
            hypervisor="xen",
            image_location=f"{image.owner}/{image.name}",
            root_device_type="ebs",
            root_device_name="/dev/sda1",
            region_name=f"{region}a",
        )
        ssm_backends[ACCOUNT][region]._parameters[image.parameter].append(_parameter(image, ami_id))
    return True


def _parameter(image: Image, ami_id: str) -> Parameter:
    return Parameter(  # type: ignore[abstract]  # moto's own way to make one
        account_id=ACCOUNT,
        name=image.parameter,
        value=ami_id,
        parameter_type="String",
        description=image.name,
        allowed_pattern=None,
        keyid=None,
        last_modified_date=utcnow(),
        version=1,
        data_type="aws:ec2:image",
    )
