"""What the nodes may do: role, inline policy, instance profile."""

import json
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote

from botocore.exceptions import ClientError

from rehearsal.aws_plugin.aws import Aws
from rehearsal.aws_plugin.problems import is_gone
from rehearsal.aws_plugin.resource import Change, Naming, Resource, Values, Wanted
from rehearsal.aws_plugin.schema import TAGS, flag, number, policy, policy_meaning, text, texts
from rehearsal.aws_plugin.tables.common import MARK, as_list, change_tags, delete_unused, marked, tags_of


def _document(value: Any) -> str:
    """A policy as text; boto3 parses some, others come quoted."""
    return unquote(value) if isinstance(value, str) else json.dumps(value)


def _has_mark(tags: Any, marker: str) -> bool:
    return {"Key": MARK, "Value": marker} in [{"Key": tag["Key"], "Value": tag["Value"]} for tag in tags]


def _of_this_name(names: Iterator[str], wanted: Wanted, *, generated: bool) -> Iterator[str]:
    """The names that a create of this resource may have given: the very one, or one generated before."""
    for name in names:
        if name.startswith(f"{wanted.logical_name}-") if generated else name == wanted.inputs["name"]:
            yield name


# --- aws.iam.Role


def _find_role(aws: Aws, wanted: Wanted) -> str | None:
    # IAM finds nothing by tag; list the names, and look at the tags of those that a create could have given.
    names = (
        role["RoleName"] for page in aws.iam.get_paginator("list_roles").paginate() for role in page["Roles"]
    )
    for name in _of_this_name(names, wanted, generated=wanted.name_is_generated):
        if _has_mark(aws.iam.list_role_tags(RoleName=name)["Tags"], wanted.marker):
            return name
    return None


def _create_role(aws: Aws, wanted: Wanted) -> str:
    inputs = wanted.inputs
    described = {"Description": inputs["description"]} if inputs.get("description") else {}
    made = aws.iam.create_role(
        RoleName=inputs["name"],
        Path=inputs["path"],
        AssumeRolePolicyDocument=inputs["assumeRolePolicy"],
        MaxSessionDuration=inputs["maxSessionDuration"],
        Tags=marked(wanted),
        **described,
    )
    return made["Role"]["RoleName"]


def _attached(aws: Aws, role: str) -> list[str]:
    answer = aws.iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    return sorted(policy["PolicyArn"] for policy in answer)


def _settle_role(aws: Aws, role: str, inputs: Values) -> None:
    if "managedPolicyArns" not in inputs:
        return
    wanted, there = set(inputs["managedPolicyArns"]), set(_attached(aws, role))
    for arn in sorted(wanted - there):
        aws.iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    for arn in sorted(there - wanted):
        aws.iam.detach_role_policy(RoleName=role, PolicyArn=arn)


def _read_role(aws: Aws, name: str, _state: Values) -> dict[str, Any] | None:
    try:
        role = aws.iam.get_role(RoleName=name)["Role"]
    except ClientError as error:
        if is_gone(error):
            return None
        raise
    return {
        "name": name,
        "path": role["Path"],
        "assumeRolePolicy": _document(role["AssumeRolePolicyDocument"]),
        "description": role.get("Description"),
        "maxSessionDuration": role.get("MaxSessionDuration"),
        "managedPolicyArns": _attached(aws, name),
        "tags": tags_of(role.get("Tags", [])),
        "arn": role["Arn"],
        "createDate": role["CreateDate"].isoformat(),
        "uniqueId": role["RoleId"],
    }


def _update_role(aws: Aws, name: str, change: Change) -> None:
    if "assumeRolePolicy" in change.changed:
        aws.iam.update_assume_role_policy(RoleName=name, PolicyDocument=change.new["assumeRolePolicy"])
    if change.changed & {"description", "maxSessionDuration"}:
        aws.iam.update_role(
            RoleName=name,
            Description=change.new.get("description", ""),
            MaxSessionDuration=change.new["maxSessionDuration"],
        )
    if "managedPolicyArns" in change.changed or not change.changed:
        _settle_role(aws, name, change.new)
    change_tags(
        change,
        lambda tags: aws.iam.tag_role(RoleName=name, Tags=as_list(tags)),
        lambda keys: aws.iam.untag_role(RoleName=name, TagKeys=keys),
    )


def _delete_role(aws: Aws, name: str, state: Values) -> None:
    try:
        for profile in aws.iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"]:
            aws.iam.remove_role_from_instance_profile(
                InstanceProfileName=profile["InstanceProfileName"], RoleName=name
            )
        mine = (
            _attached(aws, name) if state.get("forceDetachPolicies") else state.get("managedPolicyArns", [])
        )
        for arn in mine:
            aws.iam.detach_role_policy(RoleName=name, PolicyArn=arn)
        if state.get("forceDetachPolicies"):
            for inline in aws.iam.list_role_policies(RoleName=name)["PolicyNames"]:
                aws.iam.delete_role_policy(RoleName=name, PolicyName=inline)
    except ClientError as error:
        if is_gone(error):
            return
        raise
    delete_unused(aws, f"role {name}", lambda: aws.iam.delete_role(RoleName=name))


ROLE: Final = Resource(
    "aws:iam/role:Role",
    properties={
        "assumeRolePolicy": policy(required=True),
        "name": text(replace=True),
        "path": text(replace=True, default="/"),
        "description": text(),
        "maxSessionDuration": number(default=3600),
        "managedPolicyArns": texts(computed=True),
        "forceDetachPolicies": flag(local=True, default=False),
        "tags": TAGS,
    },
    outputs={"arn": text(), "createDate": text(), "uniqueId": text()},
    find=_find_role,
    create=_create_role,
    settle=_settle_role,
    read=_read_role,
    update=_update_role,
    delete=_delete_role,
    naming=Naming("name", longest=64),
)

# --- aws.iam.RolePolicy: its id is role:name, as in the real provider


def _find_policy(aws: Aws, wanted: Wanted) -> str | None:
    # It carries no tags: the same document under a name of this resource's is what was left.
    role = wanted.inputs["role"]
    names = iter(aws.iam.list_role_policies(RoleName=role)["PolicyNames"])
    for name in _of_this_name(names, wanted, generated=wanted.name_is_generated):
        there = _document(aws.iam.get_role_policy(RoleName=role, PolicyName=name)["PolicyDocument"])
        if policy_meaning(there) == policy_meaning(wanted.inputs["policy"]):
            return f"{role}:{name}"
    return None


def _create_policy(aws: Aws, wanted: Wanted) -> str:
    inputs = wanted.inputs
    aws.iam.put_role_policy(
        RoleName=inputs["role"], PolicyName=inputs["name"], PolicyDocument=inputs["policy"]
    )
    return f"{inputs['role']}:{inputs['name']}"


def _read_policy(aws: Aws, policy_id: str, _state: Values) -> dict[str, Any] | None:
    role, _, name = policy_id.partition(":")
    try:
        answer = aws.iam.get_role_policy(RoleName=role, PolicyName=name)
    except ClientError as error:
        if is_gone(error):
            return None
        raise
    return {"role": role, "name": name, "policy": _document(answer["PolicyDocument"])}


def _update_policy(aws: Aws, policy_id: str, change: Change) -> None:
    role, _, name = policy_id.partition(":")
    aws.iam.put_role_policy(RoleName=role, PolicyName=name, PolicyDocument=change.new["policy"])


def _delete_policy(aws: Aws, policy_id: str, _state: Values) -> None:
    role, _, name = policy_id.partition(":")
    delete_unused(aws, policy_id, lambda: aws.iam.delete_role_policy(RoleName=role, PolicyName=name))


ROLE_POLICY: Final = Resource(
    "aws:iam/rolePolicy:RolePolicy",
    properties={
        "role": text(required=True, replace=True),
        "policy": policy(required=True),
        "name": text(replace=True),
    },
    outputs={},
    find=_find_policy,
    create=_create_policy,
    read=_read_policy,
    update=_update_policy,
    delete=_delete_policy,
    naming=Naming("name", longest=128),
)

# --- aws.iam.InstanceProfile


def _find_profile(aws: Aws, wanted: Wanted) -> str | None:
    pages = aws.iam.get_paginator("list_instance_profiles").paginate()
    names = (profile["InstanceProfileName"] for page in pages for profile in page["InstanceProfiles"])
    for name in _of_this_name(names, wanted, generated=wanted.name_is_generated):
        profile = aws.iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
        if _has_mark(profile.get("Tags", []), wanted.marker):
            return name
    return None


def _create_profile(aws: Aws, wanted: Wanted) -> str:
    made = aws.iam.create_instance_profile(
        InstanceProfileName=wanted.inputs["name"], Path=wanted.inputs["path"], Tags=marked(wanted)
    )
    return made["InstanceProfile"]["InstanceProfileName"]


def _settle_profile(aws: Aws, name: str, inputs: Values) -> None:
    profile = aws.iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    there, wanted = [role["RoleName"] for role in profile["Roles"]], inputs.get("role")
    for role in there:
        if role != wanted:
            aws.iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=role)
    if wanted and wanted not in there:
        aws.iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=wanted)


def _read_profile(aws: Aws, name: str, _state: Values) -> dict[str, Any] | None:
    try:
        profile = aws.iam.get_instance_profile(InstanceProfileName=name)["InstanceProfile"]
    except ClientError as error:
        if is_gone(error):
            return None
        raise
    return {
        "name": name,
        "path": profile["Path"],
        "role": profile["Roles"][0]["RoleName"] if profile["Roles"] else None,
        "tags": tags_of(profile.get("Tags", [])),
        "arn": profile["Arn"],
        "createDate": profile["CreateDate"].isoformat(),
        "uniqueId": profile["InstanceProfileId"],
    }


def _update_profile(aws: Aws, name: str, change: Change) -> None:
    if "role" in change.changed or not change.changed:
        _settle_profile(aws, name, change.new)
    change_tags(
        change,
        lambda tags: aws.iam.tag_instance_profile(InstanceProfileName=name, Tags=as_list(tags)),
        lambda keys: aws.iam.untag_instance_profile(InstanceProfileName=name, TagKeys=keys),
    )


def _delete_profile(aws: Aws, name: str, _state: Values) -> None:
    try:
        _settle_profile(aws, name, {})
    except ClientError as error:
        if is_gone(error):
            return
        raise
    delete_unused(
        aws, f"instance profile {name}", lambda: aws.iam.delete_instance_profile(InstanceProfileName=name)
    )


INSTANCE_PROFILE: Final = Resource(
    "aws:iam/instanceProfile:InstanceProfile",
    properties={
        "name": text(replace=True),
        "path": text(replace=True, default="/"),
        "role": text(),
        "tags": TAGS,
    },
    outputs={"arn": text(), "createDate": text(), "uniqueId": text()},
    find=_find_profile,
    create=_create_profile,
    settle=_settle_profile,
    read=_read_profile,
    update=_update_profile,
    delete=_delete_profile,
    naming=Naming("name", longest=128),
)

TABLE = (ROLE, ROLE_POLICY, INSTANCE_PROFILE)
