"""The model's files, from the cluster's bucket to the node's disk."""

from ansible_like.operations import Command, Operation
from bootstrap.specs import NodeSpec, WeightsSource


def weights(
    spec: NodeSpec, source: WeightsSource, *, region: str, rank: int, deadline_s: float, hub_token: str
) -> list[Operation]:
    """One command that resumes what an earlier run began. Of a hub's model, rank 0 fills the bucket."""
    tool = "/opt/drydock/bin/fetch-weights"
    which = ("--digest", source.manifest_digest, "--destination", spec.model_dir)
    argv = [tool, *which, "--bucket", source.bucket, "--prefix", source.prefix, "--region", region]
    if source.from_hub:
        argv += ["--hub-id", source.source, "--revision", source.revision]
        argv += ["--fill"] if rank == 0 else ["--deadline-s", f"{deadline_s:.0f}"]
    if hub_token:
        argv.append("--token-stdin")
    return [
        Command(
            tuple(argv),
            unless=(tool, "--check", *which),
            deadline_s=deadline_s,
            progress=True,
            secret_stdin=hub_token or None,
            name="weights",
        )
    ]
