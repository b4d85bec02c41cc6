"""vLLM's own Python environment at /opt/vllm, of exactly the pinned version."""

from ansible_like.operations import Command, Operation
from bootstrap.specs import NodeSpec


def environment(spec: NodeSpec) -> list[Operation]:
    """Nothing to do where the image brings the version (``0.32.0`` or ``0.32.0+cpu``)."""
    tool = "/opt/drydock/bin/install-vllm"
    arguments = (spec.accelerator, spec.vllm_version)
    return [
        Command(
            (tool, *arguments),
            unless=(tool, "--check", *arguments),
            deadline_s=1800,
            progress=True,
            name=f"vLLM {spec.vllm_version}",
        ),
    ]
