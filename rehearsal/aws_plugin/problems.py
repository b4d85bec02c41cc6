"""What the plugin says when AWS, or the rehearsal's cloud in its place, refuses."""

from typing import Final

from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError

REAL_PLUGIN: Final = "pulumi plugin install resource aws 7.51.1"

_OTHER_PLACE: Final = "try another availability zone or instance type, or reserve capacity first"
_REMEDIES: Final = {
    "InsufficientInstanceCapacity": _OTHER_PLACE,
    "UnfulfillableCapacity": _OTHER_PLACE,
    "Unsupported": _OTHER_PLACE,
    "InsufficientFreeAddressesInSubnet": "give the subnet a larger CIDR block, or use another zone",
    "ReservationCapacityExceeded": "the reservation holds fewer instances than asked for; ask for fewer",
    "MaxSpotInstanceCountExceeded": "raise the account's spot quota, or ask on demand",
    "VcpuLimitExceeded": "the account's vCPU quota: another zone won't help, raise it in Service Quotas",
    "AddressLimitExceeded": "release an Elastic IP address, or ask for a raise of that quota",
    "InvalidPermission.Duplicate": "the group holds this rule already: remove one of the two",
    "EntityAlreadyExists": "choose another name, or bring it in: pulumi import",
    "InvalidKeyPair.Duplicate": "choose another name, or bring it in: pulumi import",
    "InvalidGroup.Duplicate": "choose another name, or bring it in: pulumi import",
    "InvalidPlacementGroup.Duplicate": "choose another name, or bring it in: pulumi import",
    "BucketAlreadyExists": "bucket names are shared by everyone: choose another, or give none",
    "BucketNotEmpty": "empty the bucket, or set forceDestroy and run `pulumi up` before `pulumi destroy`",
    "DependencyViolation": "something that Pulumi doesn't manage uses it still: find and remove that",
    "501": "the rehearsal's cloud does not know this call",
}


class Refused(Exception):  # noqa: N818 - what a user reads, not a fault of ours
    """A request that cannot be served; the text is the whole message."""


class HalfMade(Exception):  # noqa: N818 - likewise
    """A resource that exists but did not become usable; Pulumi must remember it."""

    def __init__(self, resource_id: str, state: dict[str, object], reason: str) -> None:
        self.resource_id, self.state, self.reason = resource_id, state, reason
        super().__init__(reason)


def code_of(error: BaseException) -> str:
    """AWS's code of the error, "" where it has none."""
    return str(error.response.get("Error", {}).get("Code", "")) if isinstance(error, ClientError) else ""


def is_gone(error: BaseException) -> bool:
    """Whether the error says that the thing isn't there (any more)."""
    code = code_of(error)
    return code.endswith((".NotFound", ".Unknown", "NotFoundError", "NotFoundException")) or code in {
        "404",
        "NoSuchBucket",
        "NoSuchEntity",
        "NoSuchPublicAccessBlockConfiguration",
        "InvalidAssociationID.NotFound",
    }


def explained(error: BaseException, doing: str) -> str:
    """One error as its reader needs it: what was being done, what AWS said, the way out."""
    if isinstance(error, EndpointConnectionError):
        endpoint = error.kwargs.get("endpoint_url", "its endpoint")
        return (
            f"{doing}: nothing answers at {endpoint}\n"
            '    → drydock rehearsal start, then: eval "$(drydock rehearsal env)"'
        )
    if isinstance(error, NoCredentialsError):
        return f'{doing}: no AWS credentials\n    → eval "$(drydock rehearsal env)"'
    if isinstance(error, ClientError):
        said = error.response.get("Error", {})
        what = f"{doing}: {error.operation_name}: {said.get('Code')}: {said.get('Message')}"
        remedy = _REMEDIES.get(code_of(error))
        return f"{what}\n    → {remedy}" if remedy else what
    return f"{doing}: {error}"
