"""What every node has: the account that serves, directories, Drydock's tools, limits, kernel settings."""

from ansible_like.operations import Directory, File, Group, Operation, Sysctl, User
from bootstrap.rendering import render
from bootstrap.specs import NodeSpec

TOOLS = {
    "/opt/drydock/bin/check-gpu": 0o755,
    "/opt/drydock/bin/check-peers": 0o755,
    "/opt/drydock/bin/fetch-weights": 0o755,
    "/opt/drydock/bin/fill-bucket": 0o755,
    "/opt/drydock/bin/install-vllm": 0o755,
    "/opt/drydock/bin/name-disks": 0o755,
    "/opt/drydock/bin/node-environment": 0o755,
    "/opt/drydock/lib/model_files.py": 0o644,
}
"""Path and mode of each."""

KERNEL_SETTINGS = {
    # NCCL and gloo listen on ephemeral ports: a fixed range that none of vLLM's own ports lies in.
    "net.ipv4.ip_local_port_range": "32768 60999",
    "net.core.somaxconn": "4096",
    "net.core.rmem_max": "134217728",
    "net.core.wmem_max": "134217728",
}
GPU_KERNEL_SETTINGS = {
    # Page migration between sockets stalls the processes that feed the GPUs.
    "kernel.numa_balancing": "0",
}


def base(spec: NodeSpec) -> list[Operation]:
    """Group and user ``vllm``, directories, tools, limits, sysctls."""
    limits = "/etc/security/limits.d/60-drydock.conf"
    gpu = spec.accelerator == "nvidia"
    return [
        Group("vllm"),
        User("vllm", home="/var/lib/vllm", shell="/usr/sbin/nologin"),  # noqa: S604 - a login shell
        Directory("/var/lib/vllm", mode=0o750, owner="vllm", group="vllm"),
        Directory("/etc/drydock"),
        Directory("/opt/drydock/bin"),
        Directory("/opt/drydock/lib"),
        *(File(path, render(path), mode=mode) for path, mode in TOOLS.items()),
        File(limits, render(limits)),
        Sysctl(
            KERNEL_SETTINGS | (GPU_KERNEL_SETTINGS if gpu else {}),
            path="/etc/sysctl.d/60-drydock.conf",
            tolerate_missing=not gpu,
        ),
    ]
