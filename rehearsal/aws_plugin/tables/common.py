"""What the entries share: tags, the mark of a create, one described thing or none."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from botocore.exceptions import ClientError

from rehearsal.aws_plugin.aws import Aws, NotYet
from rehearsal.aws_plugin.problems import code_of, is_gone
from rehearsal.aws_plugin.resource import Change, Values, Wanted

MARK: Final = "drydock:creation"
"""The tag that says which create made a thing, so that a create cut short is finished, not repeated."""

DELETE_S: Final = 300.0
"""How long a delete waits for what still uses the thing."""

_IN_USE: Final = frozenset(
    {
        "DeleteConflict",
        "DependencyViolation",
        "InvalidIPAddress.InUse",
        "InvalidPlacementGroup.InUse",
        "ResourceInUse",
    }
)


def as_list(tags: Mapping[str, str]) -> list[Any]:
    """Tags as AWS's API lists them."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def marked(wanted: Wanted) -> list[Any]:
    """The tags of a thing to be made, its mark among them."""
    return as_list({**wanted.inputs.get("tags", {}), MARK: wanted.marker})


def tag_specification(resource_type: str, wanted: Wanted) -> list[Any]:
    """The same as EC2's create calls take it."""
    return [{"ResourceType": resource_type, "Tags": marked(wanted)}]


def by_mark(wanted: Wanted) -> list[Any]:
    """EC2's filter for the thing that an earlier run of the same create made."""
    return [{"Name": f"tag:{MARK}", "Values": [wanted.marker]}]


def tags_of(listed: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """The tags as a map, without AWS's own and ours."""
    tags = {str(tag["Key"]): str(tag.get("Value", "")) for tag in listed}
    return {key: value for key, value in tags.items() if key != MARK and not key.startswith("aws:")}


def only(things: Sequence[Any]) -> Any:
    """The one thing, or None."""
    return things[0] if things else None


def described(call: Callable[[], Sequence[Any]]) -> Any:
    """The one thing that the call describes, or None when AWS knows none such."""
    try:
        return only(call())
    except ClientError as error:
        if is_gone(error):
            return None
        raise


def change_tags(
    change: Change, put: Callable[[dict[str, str]], object], remove: Callable[[list[str]], object]
) -> None:
    """Brings the tags from the old ones to the new ones."""
    if "tags" not in change.changed:
        return
    old, new = change.old.get("tags", {}), change.new.get("tags", {})
    if gone := sorted(old.keys() - new.keys()):
        remove(gone)
    if put_now := {key: value for key, value in new.items() if old.get(key) != value}:
        put(put_now)


def change_ec2_tags(aws: Aws, resource_id: str, change: Change) -> None:
    """The same for what EC2 tags by id."""
    change_tags(
        change,
        lambda tags: aws.ec2.create_tags(Resources=[resource_id], Tags=as_list(tags)),
        lambda keys: aws.ec2.delete_tags(Resources=[resource_id], Tags=[{"Key": key} for key in keys]),
    )


def delete_unused(aws: Aws, what: str, delete: Callable[[], object], *, deadline_s: float = DELETE_S) -> None:
    """Deletes, waiting for what uses the thing to go (an interface goes seconds after its instance).

    Gone already is as good. Raises Refused at the deadline, with what AWS last said.
    """

    def attempt() -> None:
        try:
            delete()
        except ClientError as error:
            if code_of(error) in _IN_USE:
                raise NotYet(f"{what} is in use still: {error.response['Error'].get('Message')}") from None
            if not is_gone(error):
                raise

    aws.until(attempt, deadline_s=deadline_s)


def without(values: Values, *names: str) -> dict[str, Any]:
    """The values less some."""
    return {name: value for name, value in values.items() if name not in names}
