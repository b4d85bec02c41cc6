"""The instance metadata service, version 2 only: the source address tells who asks, a token is needed."""

import base64
import json
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from moto.ec2.models.instances import Instance
from moto.iam.models import iam_backends
from moto.sts.models import sts_backends
from werkzeug.wrappers import Request, Response

from rehearsal.cloud.instances import public_key
from rehearsal.cloud.places import ACCOUNT, REGION

CREDENTIALS_LIFE_S = 6 * 3600
RENEW_BEFORE_S = 15 * 60
MAXIMUM_TOKEN_LIFE_S = 21600
TIME_FORM = "%Y-%m-%dT%H:%M:%SZ"


@dataclass
class _Credentials:
    expires: float
    document: dict[str, str]


@dataclass
class MetadataService:
    """A WSGI application; `instance_at` finds the running instance that has an address."""

    instance_at: Callable[[str], Instance | None]
    clock: Callable[[], float] = time.time
    _tokens: dict[str, tuple[str, float]] = field(default_factory=dict, repr=False)
    _credentials: dict[str, _Credentials] = field(default_factory=dict, repr=False)

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        return self.answer(Request(environ))(environ, start_response)

    def answer(self, request: Request) -> Response:
        address = str(request.remote_addr)
        instance = self.instance_at(address)
        if instance is None:
            return Response("no instance has the address that asks\n", 404)
        if "X-Forwarded-For" in request.headers:  # EC2's guard against open proxies
            return Response(status=403)
        path = request.path.rstrip("/")
        if path == "/latest/api/token":
            return self._token(request, address)
        if request.method not in ("GET", "HEAD"):
            return Response(status=405)
        if not self._valid(request.headers.get("X-aws-ec2-metadata-token", ""), address):
            return Response("401 - Unauthorized\n", 401)
        version, _, rest = path.lstrip("/").partition("/")
        found = self._find(instance, rest) if version else "latest"
        return (
            Response("404 - Not Found\n", 404)
            if found is None
            else Response(found, content_type="text/plain")
        )

    def _token(self, request: Request, address: str) -> Response:
        if request.method != "PUT":
            return Response(status=405)
        asked = request.headers.get("X-aws-ec2-metadata-token-ttl-seconds", "")
        if not asked.isdigit() or not 1 <= int(asked) <= MAXIMUM_TOKEN_LIFE_S:
            return Response(status=400)
        now = self.clock()
        self._tokens = {token: of for token, of in self._tokens.items() if of[1] > now}
        token = secrets.token_urlsafe(40)
        self._tokens[token] = (address, now + int(asked))
        return Response(
            token, headers={"X-aws-ec2-metadata-token-ttl-seconds": asked}, content_type="text/plain"
        )

    def _valid(self, token: str, address: str) -> bool:
        owner, expires = self._tokens.get(token, ("", 0.0))
        return owner == address and expires > self.clock()

    def _find(self, instance: Instance, path: str) -> str | bytes | None:
        if path in ("", "user-data", "dynamic/instance-identity/document"):
            return {
                "": "dynamic\nmeta-data\nuser-data",
                "user-data": base64.b64decode(str(instance.user_data)) if instance.user_data else None,
                "dynamic/instance-identity/document": json.dumps(identity(instance), indent=2),
            }[path]
        root, _, rest = path.partition("/")
        if root != "meta-data":
            return None
        tree = {**facts(instance), **self._iam(instance)}
        return lookup(tree, rest)

    def _iam(self, instance: Instance) -> dict[str, str]:
        association = instance.ec2_backend.iam_instance_profile_associations.get(instance.id)
        if association is None:
            return {}
        profile = iam_backends[ACCOUNT]["aws"].get_instance_profile(association.iam_instance_profile.name)
        info = {"Code": "Success", "InstanceProfileArn": profile.arn, "InstanceProfileId": profile.id}
        tree = {"iam/info": json.dumps(info)}
        for role in profile.roles:
            document = self._credentials_of(instance, role.arn)
            tree[f"iam/security-credentials/{role.name}"] = json.dumps(document, indent=2)
        return tree

    def _credentials_of(self, instance: Instance, role_arn: str) -> dict[str, str]:
        now = self.clock()
        held = self._credentials.get(instance.id)
        if held is None or held.expires - RENEW_BEFORE_S < now:
            assumed = sts_backends[ACCOUNT]["aws"].assume_role(
                region_name=REGION,
                role_session_name=instance.id,
                role_arn=role_arn,
                policy="",
                duration=CREDENTIALS_LIFE_S,
                external_id="",
            )
            expires = now + CREDENTIALS_LIFE_S
            document = {
                "Code": "Success",
                "LastUpdated": time.strftime(TIME_FORM, time.gmtime(now)),
                "Type": "AWS-HMAC",
                "AccessKeyId": assumed.access_key_id,
                "SecretAccessKey": assumed.secret_access_key,
                "Token": assumed.session_token,
                "Expiration": time.strftime(TIME_FORM, time.gmtime(expires)),
            }
            held = self._credentials[instance.id] = _Credentials(expires, document)
        return held.document


def lookup(tree: dict[str, str], path: str) -> str | None:
    """The value at `path`, or the listing of what is under it (folders end in ``/``), or None."""
    path = path.rstrip("/")
    if path in tree:
        return tree[path]
    prefix = f"{path}/" if path else ""
    under = [key.removeprefix(prefix) for key in tree if key.startswith(prefix)]
    names = {name + "/" * bool(below) for name, slash, below in (key.partition("/") for key in under)}
    return "\n".join(sorted(names)) or None


def facts(instance: Instance) -> dict[str, str]:
    """The part of meta-data that needs no credentials: path → value. Notices not given are absent."""
    interface = instance.nics[0]
    subnet = interface.subnet
    vpc = instance.ec2_backend.vpcs[subnet.vpc_id]
    mac = interface.mac_address
    card = f"network/interfaces/macs/{mac}"
    tree = {
        "ami-id": instance.image_id,
        "ami-launch-index": str(instance.ami_launch_index),
        "hostname": instance.private_dns_name,
        "local-hostname": instance.private_dns_name,
        "instance-action": "none",
        "instance-id": instance.id,
        "instance-life-cycle": instance.lifecycle or "on-demand",
        "instance-type": instance.instance_type,
        "local-ipv4": str(instance.private_ip),
        "mac": mac,
        "placement/availability-zone": str(instance.availability_zone),
        "placement/region": instance.region_name,
        "security-groups": "\n".join(sorted(group.name for group in interface.group_set)),
        "services/domain": "amazonaws.com",
        "services/partition": "aws",
        f"{card}/device-number": "0",
        f"{card}/interface-id": interface.id,
        f"{card}/local-ipv4s": str(instance.private_ip),
        f"{card}/mac": mac,
        f"{card}/security-group-ids": "\n".join(sorted(group.id for group in interface.group_set)),
        f"{card}/subnet-id": subnet.id,
        f"{card}/subnet-ipv4-cidr-block": str(subnet.cidr),
        f"{card}/vpc-id": vpc.id,
        f"{card}/vpc-ipv4-cidr-block": vpc.cidr_block,
    }
    if instance.placement.group_name:
        tree["placement/group-name"] = instance.placement.group_name
    if instance.public_ip:
        tree["public-ipv4"] = instance.public_ip
    if key := public_key(instance):
        tree["public-keys/0/openssh-key"] = key
    for path in instance.block_device_mapping:
        tree[
            f"block-device-mapping/{'root' if path == instance.root_device_name else path.split('/')[-1]}"
        ] = path
    return tree


def identity(instance: Instance) -> dict[str, Any]:
    """The instance identity document."""
    return {
        "accountId": ACCOUNT,
        "architecture": instance.architecture,
        "availabilityZone": instance.availability_zone,
        "imageId": instance.image_id,
        "instanceId": instance.id,
        "instanceType": instance.instance_type,
        "pendingTime": instance.launch_time.strftime(TIME_FORM),
        "privateIp": instance.private_ip,
        "region": instance.region_name,
        "version": "2017-09-30",
    }
