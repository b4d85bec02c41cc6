"""What the account holds now, by kind: for an audit that wants to know what was left."""

from collections.abc import Iterator

from moto.iam.models import iam_backends
from moto.s3.models import s3_backends
from moto.ssm.models import ssm_backends

from rehearsal.cloud.places import ACCOUNT
from rehearsal.cloud.reconciler import cloud_backends
from rehearsal.cloud.seeds import IMAGES


def inventory() -> dict[str, list[str]]:
    """Kind → ids, sorted; kinds with nothing are absent. Default VPCs and all in them count: compare two."""
    found: dict[str, list[str]] = {}
    for kind, name in _all():
        found.setdefault(kind, []).append(name)
    return {kind: sorted(names) for kind, names in sorted(found.items())}


def _all() -> Iterator[tuple[str, str]]:
    yield from _ec2()
    iam = iam_backends[ACCOUNT]["aws"]
    yield from (("iam role", role.name) for role in iam.roles.values())
    yield from (("iam instance profile", profile.name) for profile in iam.instance_profiles.values())
    yield from (
        ("iam policy", policy.arn) for policy in iam.managed_policies.values() if ACCOUNT in policy.arn
    )
    yield from (("iam user", user.name) for user in iam.users.values())
    for bucket in s3_backends[ACCOUNT]["aws"].buckets.values():
        yield "s3 bucket", bucket.name
        yield from (("s3 object", f"{bucket.name}/{key}") for key in bucket.keys)
    public = {image.parameter for image in IMAGES}
    for region, ssm in ssm_backends[ACCOUNT].items():
        yield from (("ssm parameter", f"{region}/{name}") for name in ssm._parameters if name not in public)


def _ec2() -> Iterator[tuple[str, str]]:
    for ec2 in cloud_backends():
        listed = {
            "vpc": ec2.vpcs,
            "subnet": [s for zone in ec2.subnets.values() for s in zone],
            "internet gateway": ec2.internet_gateways,
            "nat gateway": [g for g, it in ec2.nat_gateways.items() if it.state != "deleted"],
            "route table": ec2.route_tables,
            "security group": [g for groups in ec2.groups.values() for g in groups],
            "network interface": ec2.enis,
            "volume": ec2.volumes,
            "snapshot": [s for s, it in ec2.snapshots.items() if not it.from_ami],
            "instance": [i.id for i in ec2.all_instances() if i.state != "terminated"],
            "key pair": ec2.key_pairs,
            "launch template": ec2.launch_templates,
            "placement group": ec2.placement_groups,
            "elastic address": [str(a.allocation_id or a.public_ip) for a in ec2.addresses],
        }
        for kind, ids in listed.items():
            yield from ((kind, f"{ec2.region_name}/{resource}") for resource in ids)
