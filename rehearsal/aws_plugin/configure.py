"""The provider's own configuration: what `aws:` settings mean, and that they lead to no real account."""

import json
import os
from collections.abc import Iterator, Mapping
from typing import Any, Final

from rehearsal.aws_plugin.aws import Settings, local_endpoint
from rehearsal.aws_plugin.problems import REAL_PLUGIN
from rehearsal.aws_plugin.values import UNKNOWN

_REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")
_SERVED: Final = frozenset(
    {"region", "profile", "accessKey", "secretKey", "token", "endpoints", "defaultTags", "s3UsePathStyle"}
)
_PULUMIS_OWN: Final = frozenset({"version", "pluginDownloadURL"})


def config_misfits(given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Each setting at fault and why."""
    for name in given:
        if name.startswith(("__", "skip")) or name in _SERVED or name in _PULUMIS_OWN:
            continue
        yield (
            name,
            f"the rehearsal's aws stand-in does not serve this setting of the provider\n    → {REAL_PLUGIN}",
        )
    if given.get("region") is None and not any(os.environ.get(name) for name in _REGION_VARIABLES):
        yield "region", "is required\n    → pulumi config set aws:region us-east-1"


def settings_of(given: Mapping[str, Any]) -> Settings:
    """The settings of a checked configuration. Raises Refused when they lead to AWS itself."""
    known = {name: value for name, value in given.items() if value is not UNKNOWN}
    region = known.get("region") or next(filter(None, map(os.environ.get, _REGION_VARIABLES)), "")
    endpoints: dict[str, str] = {}
    for entry in _opened(known.get("endpoints")) or []:
        endpoints |= entry
    tags = (_opened(known.get("defaultTags")) or {}).get("tags", {})
    settings = Settings(
        region=region,
        profile=known.get("profile"),
        access_key=known.get("accessKey"),
        secret_key=known.get("secretKey"),
        token=known.get("token"),
        endpoints=endpoints,
        default_tags=tags,
    )
    local_endpoint(settings, "ec2")
    return settings


def _opened(value: Any) -> Any:
    """Settings that are no plain text come as JSON."""
    return json.loads(value) if isinstance(value, str) else value
