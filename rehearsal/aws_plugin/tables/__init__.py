"""The table: every type and function that the stand-in serves, by Pulumi's token."""

from collections.abc import Mapping
from typing import Final

from rehearsal.aws_plugin.resource import Function, Resource
from rehearsal.aws_plugin.tables import access, addresses, compute, functions, iam, routes, s3, template, vpc

RESOURCES: Final[Mapping[str, Resource]] = {
    entry.token: entry
    for entry in (
        *vpc.TABLE,
        *routes.TABLE,
        *access.TABLE,
        template.LAUNCH_TEMPLATE,
        *compute.TABLE,
        *addresses.TABLE,
        *iam.TABLE,
        *s3.TABLE,
    )
}

FUNCTIONS: Final[Mapping[str, Function]] = {entry.token: entry for entry in functions.TABLE}
