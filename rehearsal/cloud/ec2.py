"""EC2 where moto stops short of it: what RunInstances takes from a launch template, client tokens, placement
groups, addresses that fit the subnet, states that follow the machine, refusals while something is in use."""

from collections.abc import Iterator
from typing import Any, ClassVar, Protocol

from moto import settings
from moto.core.responses import ActionResult, EmptyResult
from moto.core.types import Base64EncodedString
from moto.core.utils import utcnow
from moto.ec2 import urls
from moto.ec2.exceptions import DependencyViolationError, EC2ClientError
from moto.ec2.models import EC2Backend, ec2_backends, elastic_network_interfaces
from moto.ec2.models.core import TaggedEC2Resource
from moto.ec2.models.elastic_network_interfaces import NetworkInterface
from moto.ec2.models.instances import Instance, InstanceState, Reservation
from moto.ec2.models.subnets import Subnet
from moto.ec2.responses import EC2Response

from rehearsal.cloud import launch

NO_TOKEN = "ABCDE"  # noqa: S105 - names a request, opens nothing
"""What moto fills in where a request has no client token."""

PENDING, RUNNING, SHUTTING_DOWN, STOPPING, STOPPED = (0, 16, 32, 64, 80)
STATE_NAMES = {PENDING: "pending", SHUTTING_DOWN: "shutting-down", STOPPING: "stopping"}


class Host(Protocol):
    """What EC2 asks of the machine that its instances boot on."""

    def console(self, instance_id: str) -> bytes:
        """What the instance has written to its console so far."""

    def conflict(self, cidr: str, vpc_id: str | None) -> str | None:
        """Why this range cannot be used on this machine, or None; the VPC's own use of it is no conflict."""


class PlacementGroup(TaggedEC2Resource):
    """moto has none."""

    def __init__(self, backend: "CloudEC2Backend", name: str, strategy: str, tags: dict[str, str]) -> None:
        self.ec2_backend = backend
        self.group_name, self.strategy, self.state = name, strategy, "available"
        self.id = self.group_id = f"pg-{launch.stable_hex(backend.region_name, name)}"
        self.group_arn = f"arn:aws:ec2:{backend.region_name}:{backend.account_id}:placement-group/{name}"
        self.add_tags(tags)

    @property
    def tags(self) -> list[dict[str, str]]:
        """As the API's answers show them."""
        return self.get_tags()


class CloudEC2Backend(EC2Backend):
    """moto's EC2 of one region, with the machines' real states."""

    boots: ClassVar[bool] = False
    """Whether instances are machines that take time to start and stop, or only entries in a list."""

    def __init__(self, region_name: str, account_id: str) -> None:
        self.placement_groups: dict[str, PlacementGroup] = {}
        self.reboots: set[str] = set()
        """Instances whose reboot was asked for and not yet begun."""
        super().__init__(region_name, account_id)

    @property
    def _url_module(self) -> Any:
        """moto looks for the URLs beside the class."""
        return urls

    # --- instances

    def run_instances(self, *args: Any, **kwargs: Any) -> Reservation:
        """A client token that was seen before gives what it gave before."""
        token = kwargs.get("client_token", NO_TOKEN)
        if token != NO_TOKEN and (former := self._reservation_of(token)):
            return former
        reservation = super().run_instances(*args, **kwargs)
        if self.boots:
            for instance in reservation.instances:
                _become(instance, PENDING)
        return reservation

    def _reservation_of(self, token: str) -> Reservation | None:
        found = (r for r in self.reservations.values() if any(i.client_token == token for i in r.instances))
        return next(found, None)

    def start_instances(self, instance_ids: list[str]) -> list[tuple[Instance, InstanceState]]:
        instances = self.get_multi_instances_by_id(instance_ids)
        for instance in instances:
            if instance.state_code not in (PENDING, RUNNING, STOPPED):
                raise EC2ClientError(
                    "IncorrectInstanceState",
                    f"The instance '{instance.id}' is not in a state from which it can be started.",
                )
        if not self.boots:
            return super().start_instances(instance_ids)
        return [(i, _become(i, PENDING) if i.state_code == STOPPED else _state(i)) for i in instances]

    def stop_instances(self, instance_ids: list[str]) -> list[tuple[Instance, InstanceState]]:
        if not self.boots:
            return super().stop_instances(instance_ids)
        instances = self.get_multi_instances_by_id(instance_ids)
        return [
            (i, _become(i, STOPPING) if i.state_code in (PENDING, RUNNING) else _state(i)) for i in instances
        ]

    def terminate_instances(self, instance_ids: list[str]) -> list[tuple[Instance, InstanceState]]:
        if not self.boots:
            return super().terminate_instances(instance_ids)
        protected = [i.id for i in self.get_multi_instances_by_id(instance_ids) if i.disable_api_termination]
        if protected:
            return super().terminate_instances(protected)  # raises as EC2 does
        return [
            (i, _state(i) if i.state == "terminated" else _become(i, SHUTTING_DOWN))
            for i in self.get_multi_instances_by_id(instance_ids)
        ]

    def reboot_instances(self, instance_ids: list[str]) -> list[Instance]:
        instances = self.get_multi_instances_by_id(instance_ids)
        self.reboots |= {i.id for i in instances if i.state_code == RUNNING} if self.boots else set()
        return instances

    def associate_iam_instance_profile(self, instance_id: str, *args: Any, **kwargs: Any) -> Any:
        """The same profile twice is one association: a repeated client token comes here again."""
        former = self.iam_instance_profile_associations.get(instance_id)
        wanted = {*args, *kwargs.values()} - {None}
        if former and wanted & {former.iam_instance_profile.name, former.iam_instance_profile.arn}:
            return former
        return super().associate_iam_instance_profile(instance_id, *args, **kwargs)

    def modify_instance_security_groups(self, instance_id: str, new_group_id_list: list[str]) -> Instance:
        """moto leaves the interface with the groups it had."""
        instance = super().modify_instance_security_groups(instance_id, new_group_id_list)
        instance.nics[0]._group_set = list(instance.security_groups)
        return instance

    # --- addresses

    def free_address(self, subnet: Subnet) -> str:
        """The lowest address nobody has; the network's first four and its last are AWS's own."""
        taken = {
            address["PrivateIpAddress"]
            for eni in self.enis.values()
            if eni.subnet.id == subnet.id
            for address in eni.private_ip_addresses
        }
        for offset in range(4, subnet.cidr.num_addresses - 1):
            if (address := str(subnet.cidr.network_address + offset)) not in taken:
                return address
        raise EC2ClientError(
            "InsufficientFreeAddressesInSubnet",
            f"There are not enough free addresses in subnet '{subnet.id}' to satisfy the requested number of"
            " network interfaces.",
        )

    def create_network_interface(
        self, subnet: Any, private_ip_address: Any, *args: Any, **kwargs: Any
    ) -> Any:
        if not private_ip_address and not (args or kwargs.get("private_ip_addresses")):
            private_ip_address = self.free_address(
                subnet if isinstance(subnet, Subnet) else self.get_subnet(subnet)
            )
        return super().create_network_interface(subnet, private_ip_address, *args, **kwargs)

    # --- what is in use cannot be deleted

    def _delete_security_group(self, vpc_id: str | None, group_id: str) -> None:
        users = (eni.id for eni in self.enis.values() if any(g.id == group_id for g in eni.group_set))
        referrers = (
            group.id
            for groups in self.groups.values()
            for group in groups.values()
            for rule in [*group.ingress_rules, *group.egress_rules]
            if group.id != group_id and rule.source_group.get("GroupId") == group_id
        )
        if next(users, None) or next(referrers, None):
            raise DependencyViolationError(f"resource {group_id} has a dependent object")
        super()._delete_security_group(vpc_id, group_id)

    def delete_subnet(self, subnet_id: str) -> Subnet:
        if any(eni.subnet.id == subnet_id for eni in self.enis.values()):
            raise DependencyViolationError(
                f"The subnet '{subnet_id}' has dependencies and cannot be deleted."
            )
        return super().delete_subnet(subnet_id)

    def delete_vpc(self, vpc_id: str) -> Any:
        groups = [g for g in self.groups.get(vpc_id, {}).values() if g.name != "default"]
        gateways = [g for g in self.internet_gateways.values() if g.vpc and g.vpc.id == vpc_id]
        if groups or gateways:
            raise DependencyViolationError(f"The vpc '{vpc_id}' has dependencies and cannot be deleted.")
        return super().delete_vpc(vpc_id)

    def instances_in_placement_group(self, name: str) -> list[Instance]:
        return [i for i in self.all_instances() if i.placement.group_name == name and i.state != "terminated"]


class CloudEC2Response(EC2Response):
    """The requests that moto answers otherwise than EC2, or not at all."""

    host: ClassVar["Host | None"] = None
    """The machine that the instances boot on; None where they are only listed. Set by `install`."""

    def run_instances(self) -> ActionResult:
        backend: CloudEC2Backend = self.ec2_backend
        self.params = launch.complete(self.params, self._template_data())
        images = (
            backend.describe_images(ami_ids=[self.params["ImageId"]]) if self.params.get("ImageId") else []
        )
        self.params = launch.with_root_volume(
            self.params, images[0].root_device_name if images else "/dev/sda1"
        )
        request = dict(self.params)
        self.params["NetworkInterfaces"] = launch.numbered(request.get("NetworkInterfaces", []))
        if (group := request.get("Placement", {}).get("GroupName")) and group not in backend.placement_groups:
            raise EC2ClientError(
                "InvalidPlacementGroup.Unknown", f"The Placement Group '{group}' is unknown."
            )
        self._refuse_conflict()
        result = super().run_instances()
        for instance in self._launched(result):
            launch.amend(instance, request)
        return result

    def create_vpc(self) -> ActionResult:
        """Refuses a range that this machine needs for itself: better now than with half a cluster made."""
        cidr = self._get_param("CidrBlock")
        if self.host and cidr and (conflict := self.host.conflict(cidr, None)):
            raise EC2ClientError("InvalidVpc.Range", conflict)
        return super().create_vpc()

    def _refuse_conflict(self) -> None:
        interfaces = self.params["NetworkInterfaces"]
        subnet_id = self.params.get("SubnetId") or (interfaces[0].get("SubnetId") if interfaces else None)
        if not self.host or not subnet_id:
            return
        subnet = self.ec2_backend.get_subnet(subnet_id)
        if conflict := self.host.conflict(str(subnet.cidr), subnet.vpc_id):
            raise EC2ClientError("InvalidSubnet.Conflict", conflict)

    def _template_data(self) -> dict[str, Any]:
        template = self.params.get("LaunchTemplate")
        return dict(self.ec2_backend._get_template_from_args(template).data) if template else {}

    @staticmethod
    def _launched(result: ActionResult) -> Iterator[Instance]:
        reservation = result.result
        if isinstance(reservation, Reservation):
            yield from reservation.instances

    def get_console_output(self) -> ActionResult:
        """The newest 64 KiB, as EC2 keeps them."""
        instance = self.ec2_backend.get_instance(self._get_param("InstanceId"))
        text = self.host.console(instance.id)[-65536:].decode(errors="replace") if self.host else ""
        return ActionResult(
            {
                "InstanceId": instance.id,
                "Timestamp": utcnow(),
                "Output": Base64EncodedString.from_raw_string(text),
            }
        )

    def create_placement_group(self) -> ActionResult:
        name = self._get_param("GroupName")
        if name in self.ec2_backend.placement_groups:
            raise EC2ClientError(
                "InvalidPlacementGroup.Duplicate", f"The Placement Group '{name}' already exists."
            )
        tags = self._parse_tag_specification("placement-group").get("placement-group", {})
        group = PlacementGroup(self.ec2_backend, name, self._get_param("Strategy", "cluster"), tags)
        self.ec2_backend.placement_groups[name] = group
        return ActionResult({"PlacementGroup": group})

    def describe_placement_groups(self) -> ActionResult:
        groups: dict[str, PlacementGroup] = self.ec2_backend.placement_groups
        names, ids = self._get_param("GroupNames", []), self._get_param("GroupIds", [])
        unknown = [name for name in names if name not in groups]
        if unknown:
            raise EC2ClientError(
                "InvalidPlacementGroup.Unknown", f"The Placement Group '{unknown[0]}' is unknown."
            )
        filters = self._filters_from_querystring()
        found = [
            group
            for group in groups.values()
            if (not names or group.group_name in names)
            and (not ids or group.id in ids)
            and all(group.get_filter_value(key) in values for key, values in filters.items())
        ]
        return ActionResult({"PlacementGroups": found})

    def delete_placement_group(self) -> EmptyResult:
        name = self._get_param("GroupName")
        if name not in self.ec2_backend.placement_groups:
            raise EC2ClientError("InvalidPlacementGroup.Unknown", f"The Placement Group '{name}' is unknown.")
        if self.ec2_backend.instances_in_placement_group(name):
            raise EC2ClientError("InvalidPlacementGroup.InUse", f"The placement group '{name}' is in use.")
        del self.ec2_backend.placement_groups[name]
        return EmptyResult()


class CardAttachment(elastic_network_interfaces.Attachment):
    """moto puts every interface on network card 0."""

    def __init__(self, eni: NetworkInterface) -> None:
        super().__init__(eni)
        self.network_card_index = getattr(eni, "network_card_index", 0)


def _subnet_address(subnet: Subnet, instance: Instance) -> str:
    address: str = subnet.ec2_backend.free_address(subnet)
    subnet._subnet_ips[address] = instance
    return address


def _become(instance: Instance, code: int) -> InstanceState:
    """Puts the instance in a state on the way; returns the state it was in."""
    former = _state(instance)
    instance._state = InstanceState(STATE_NAMES[code], code)
    return former


def _state(instance: Instance) -> InstanceState:
    return InstanceState(instance.state, instance.state_code)


def install(host: Host | None) -> None:
    """Puts this EC2 in moto's place, for the life of the process; before the first region is used.

    Instances are machines on `host`, or only entries in a list where it is None.
    """
    settings.ENABLE_AMI_VALIDATION = True
    settings.ENABLE_KEYPAIR_VALIDATION = True
    settings.EC2_ENABLE_INSTANCE_TYPE_VALIDATION = True
    settings.ec2_load_default_amis = lambda: False  # moto's few hundred images cost each snapshot 15 ms
    CloudEC2Backend.boots = host is not None
    CloudEC2Response.host = host
    ec2_backends.backend = CloudEC2Backend
    urls.url_paths["{0}/"] = CloudEC2Response.dispatch
    elastic_network_interfaces.Attachment = CardAttachment  # type: ignore[misc]
    Subnet.get_available_subnet_ip = _subnet_address  # type: ignore[method-assign,assignment]
