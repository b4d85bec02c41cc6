"""Who may reach what: security groups, their rules, key pairs."""

from collections.abc import Callable
from typing import Any, Final, cast

from rehearsal.aws_plugin.aws import Aws
from rehearsal.aws_plugin.resource import Change, Naming, Resource, Values, Wanted
from rehearsal.aws_plugin.schema import REGION, TAGS, flag, from_wire, number, text
from rehearsal.aws_plugin.tables.common import (
    by_mark,
    change_ec2_tags,
    delete_unused,
    described,
    only,
    tag_specification,
    tags_of,
    without,
)

# --- aws.ec2.SecurityGroup


def _find_group(aws: Aws, wanted: Wanted) -> str | None:
    found = only(aws.ec2.describe_security_groups(Filters=by_mark(wanted))["SecurityGroups"])
    return found and cast(str, found["GroupId"])


def _create_group(aws: Aws, wanted: Wanted) -> str:
    inputs = wanted.inputs
    in_vpc = {"VpcId": inputs["vpcId"]} if inputs.get("vpcId") else {}
    made = aws.ec2.create_security_group(
        GroupName=inputs["name"],
        Description=inputs["description"],
        TagSpecifications=tag_specification("security-group", wanted),
        **in_vpc,
    )
    return made["GroupId"]


def _settle_group(aws: Aws, group_id: str, _inputs: Values) -> None:
    # AWS lets a new group send anywhere; the real provider takes that rule away: egress is what you wrote.
    # Rules that a program makes carry tags, AWS's own does not.
    own: list[Any] = [{"Name": "group-id", "Values": [group_id]}]
    default = [
        rule["SecurityGroupRuleId"]
        for rule in aws.ec2.describe_security_group_rules(Filters=own)["SecurityGroupRules"]
        if rule["IsEgress"]
        and rule["IpProtocol"] == "-1"
        and not rule.get("Tags")
        and not rule.get("Description")
    ]
    if default:
        aws.ec2.revoke_security_group_egress(GroupId=group_id, SecurityGroupRuleIds=default)


def _read_group(aws: Aws, group_id: str, _state: Values) -> dict[str, Any] | None:
    group = described(lambda: aws.ec2.describe_security_groups(GroupIds=[group_id])["SecurityGroups"])
    if group is None:
        return None
    return {
        "name": group["GroupName"],
        "description": group["Description"],
        "vpcId": group.get("VpcId"),
        "tags": tags_of(group.get("Tags", [])),
        "arn": aws.ec2_arn(f"security-group/{group_id}", group["OwnerId"]),
        "ownerId": group["OwnerId"],
    }


def _delete_group(aws: Aws, group_id: str, state: Values) -> None:
    if state.get("revokeRulesOnDelete"):
        own: list[Any] = [{"Name": "group-id", "Values": [group_id]}]
        for rule in aws.ec2.describe_security_group_rules(Filters=own)["SecurityGroupRules"]:
            revoke = _revoke(aws, egress=rule["IsEgress"])
            revoke(GroupId=group_id, SecurityGroupRuleIds=[rule["SecurityGroupRuleId"]])
    # Its instances are terminated, and yet their interfaces hold it for some seconds.
    delete_unused(aws, group_id, lambda: aws.ec2.delete_security_group(GroupId=group_id))


SECURITY_GROUP: Final = Resource(
    "aws:ec2/securityGroup:SecurityGroup",
    properties={
        "name": text(replace=True),
        "description": text(replace=True, default="Managed by Pulumi"),
        "vpcId": text(replace=True, computed=True),
        "revokeRulesOnDelete": flag(local=True, default=False),
        "region": REGION,
        "tags": TAGS,
    },
    outputs={"arn": text(), "ownerId": text()},
    find=_find_group,
    create=_create_group,
    settle=_settle_group,
    read=_read_group,
    update=change_ec2_tags,
    delete=_delete_group,
    naming=Naming("name"),
)

# --- aws.vpc.SecurityGroupIngressRule, aws.vpc.SecurityGroupEgressRule


def _authorize(aws: Aws, *, egress: bool) -> Callable[..., Any]:
    return aws.ec2.authorize_security_group_egress if egress else aws.ec2.authorize_security_group_ingress


def _revoke(aws: Aws, *, egress: bool) -> Callable[..., Any]:
    return aws.ec2.revoke_security_group_egress if egress else aws.ec2.revoke_security_group_ingress


def _permission(inputs: Values) -> dict[str, Any]:
    """The rule as the authorize calls take it: one source, in the list of its kind."""
    said = {"Description": inputs["description"]} if inputs.get("description") else {}
    permission: dict[str, Any] = {
        "IpProtocol": inputs["ipProtocol"],
        "FromPort": inputs.get("fromPort", -1),
        "ToPort": inputs.get("toPort", -1),
    }
    if inputs.get("cidrIpv4"):
        permission["IpRanges"] = [{"CidrIp": inputs["cidrIpv4"], **said}]
    if inputs.get("cidrIpv6"):
        permission["Ipv6Ranges"] = [{"CidrIpv6": inputs["cidrIpv6"], **said}]
    if inputs.get("prefixListId"):
        permission["PrefixListIds"] = [{"PrefixListId": inputs["prefixListId"], **said}]
    if inputs.get("referencedSecurityGroupId"):
        permission["UserIdGroupPairs"] = [{"GroupId": inputs["referencedSecurityGroupId"], **said}]
    return permission


def _find_rule(aws: Aws, wanted: Wanted) -> str | None:
    found = only(aws.ec2.describe_security_group_rules(Filters=by_mark(wanted))["SecurityGroupRules"])
    return found and cast(str, found["SecurityGroupRuleId"])


def _read_rule(aws: Aws, rule_id: str, state: Values) -> dict[str, Any] | None:
    rule = described(
        lambda: aws.ec2.describe_security_group_rules(SecurityGroupRuleIds=[rule_id])["SecurityGroupRules"]
    )
    if rule is None:
        return None
    every_port = rule["IpProtocol"] == "-1"
    referenced = rule.get("ReferencedGroupInfo", {}).get("GroupId")
    return {
        **from_wire(without(_RULE, "tags", "fromPort", "toPort"), rule),
        # moto keeps no description of a rule whose source is a group.
        "description": rule.get("Description") or (state.get("description") if referenced else None),
        "fromPort": None if every_port else rule["FromPort"],
        "toPort": None if every_port else rule["ToPort"],
        "securityGroupId": rule["GroupId"],
        "referencedSecurityGroupId": referenced,
        "tags": tags_of(rule.get("Tags", [])),
        "arn": aws.ec2_arn(f"security-group-rule/{rule_id}", rule.get("GroupOwnerId")),
        "securityGroupRuleId": rule_id,
    }


def _update_rule(aws: Aws, rule_id: str, change: Change) -> None:
    if change.changed - {"tags"}:
        new = change.new
        rule = {
            "IpProtocol": new["ipProtocol"],
            "FromPort": new.get("fromPort", -1),
            "ToPort": new.get("toPort", -1),
            "CidrIpv4": new.get("cidrIpv4"),
            "CidrIpv6": new.get("cidrIpv6"),
            "PrefixListId": new.get("prefixListId"),
            "ReferencedGroupId": new.get("referencedSecurityGroupId"),
            "Description": new.get("description", ""),
        }
        said: Any = {key: value for key, value in rule.items() if value is not None}
        aws.ec2.modify_security_group_rules(
            GroupId=new["securityGroupId"],
            SecurityGroupRules=[{"SecurityGroupRuleId": rule_id, "SecurityGroupRule": said}],
        )
    change_ec2_tags(aws, rule_id, change)


_RULE: Final = {
    "ipProtocol": text(required=True),
    "securityGroupId": text(required=True, replace=True, wire="GroupId"),
    "cidrIpv4": text(),
    # The real provider changes these in place too; moto changes no source but an IPv4 range.
    "cidrIpv6": text(replace=True),
    "prefixListId": text(replace=True),
    "referencedSecurityGroupId": text(replace=True),
    "description": text(),
    "fromPort": number(),
    "toPort": number(),
    "region": REGION,
    "tags": TAGS,
}


def _rule(token: str, *, egress: bool) -> Resource:
    def create(aws: Aws, wanted: Wanted) -> str:
        made = _authorize(aws, egress=egress)(
            GroupId=wanted.inputs["securityGroupId"],
            IpPermissions=[_permission(wanted.inputs)],
            TagSpecifications=tag_specification("security-group-rule", wanted),
        )
        return str(made["SecurityGroupRules"][0]["SecurityGroupRuleId"])

    def delete(aws: Aws, rule_id: str, state: Values) -> None:
        def revoke() -> object:
            return _revoke(aws, egress=egress)(
                GroupId=state["securityGroupId"], SecurityGroupRuleIds=[rule_id]
            )

        delete_unused(aws, rule_id, revoke)

    return Resource(
        token,
        properties=_RULE,
        outputs={"arn": text(), "securityGroupRuleId": text()},
        find=_find_rule,
        create=create,
        read=_read_rule,
        update=_update_rule,
        delete=delete,
    )


INGRESS_RULE: Final = _rule("aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule", egress=False)
EGRESS_RULE: Final = _rule("aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule", egress=True)

# --- aws.ec2.KeyPair


def _key_itself(line: Any) -> Any:
    """Type and key of an OpenSSH line: the comment after them says nothing."""
    return line.split()[:2]


def _find_key(aws: Aws, wanted: Wanted) -> str | None:
    found = only(aws.ec2.describe_key_pairs(Filters=by_mark(wanted))["KeyPairs"])
    return found and cast(str, found["KeyName"])


def _create_key(aws: Aws, wanted: Wanted) -> str:
    made = aws.ec2.import_key_pair(
        KeyName=wanted.inputs["keyName"],
        PublicKeyMaterial=wanted.inputs["publicKey"].encode(),
        TagSpecifications=tag_specification("key-pair", wanted),
    )
    return made["KeyName"]


def _read_key(aws: Aws, key_name: str, _state: Values) -> dict[str, Any] | None:
    key = described(
        lambda: aws.ec2.describe_key_pairs(KeyNames=[key_name], IncludePublicKey=True)["KeyPairs"]
    )
    if key is None:
        return None
    return {
        "keyName": key_name,
        "publicKey": key["PublicKey"].strip(),
        "tags": tags_of(key.get("Tags", [])),
        "arn": aws.ec2_arn(f"key-pair/{key_name}"),
        "fingerprint": key["KeyFingerprint"],
        "keyPairId": key["KeyPairId"],
        "keyType": key.get("KeyType"),
    }


def _update_key(aws: Aws, _key_name: str, change: Change) -> None:
    change_ec2_tags(aws, change.old["keyPairId"], change)


KEY_PAIR: Final = Resource(
    "aws:ec2/keyPair:KeyPair",
    properties={
        "publicKey": text(required=True, replace=True, normal=_key_itself),
        "keyName": text(replace=True),
        "region": REGION,
        "tags": TAGS,
    },
    outputs={"arn": text(), "fingerprint": text(), "keyPairId": text(), "keyType": text()},
    find=_find_key,
    create=_create_key,
    read=_read_key,
    update=_update_key,
    delete=lambda aws, name, _: delete_unused(aws, name, lambda: aws.ec2.delete_key_pair(KeyName=name)),
    naming=Naming("keyName"),
)

TABLE = (SECURITY_GROUP, INGRESS_RULE, EGRESS_RULE, KEY_PAIR)
