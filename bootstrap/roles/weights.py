"""The model's files, from the cluster's bucket to the node's disk."""

from ansible_like.operations import Command, Operation
from bootstrap.specs import HubAccess, NodeSpec, WeightsSource


def weights(
    spec: NodeSpec, source: WeightsSource, *, region: str, rank: int, deadline_s: float, hub: HubAccess
) -> list[Operation]:
    """Both commands resume what an earlier run began. Of a hub's model, rank 0 fills the bucket for all."""
    tool = "/opt/drydock/bin/fetch-weights"
    which = ("--digest", source.manifest_digest, "--destination", spec.model_dir)
    bucket = ("--bucket", source.bucket, "--prefix", source.prefix, "--region", region)
    done = (tool, "--check", *which)
    waits = ("--deadline-s", f"{deadline_s:.0f}") if source.from_hub and rank > 0 else ()
    fetch = Command(
        (tool, *which, *bucket, *waits), unless=done, deadline_s=deadline_s, progress=True, name="weights"
    )
    if not source.from_hub or rank > 0:
        return [fetch]
    model = ("--hub-id", source.source, "--revision", source.revision)
    fill = Command(
        ("/opt/drydock/bin/fill-bucket", *which, *bucket, *model, *(["--token-stdin"] if hub.token else [])),
        unless=done,
        deadline_s=deadline_s,
        progress=True,
        environment={"HF_ENDPOINT": hub.endpoint} if hub.endpoint else {},
        secret_stdin=hub.token or None,
        name="weights from the hub to the bucket",
    )
    return [fill, fetch]
