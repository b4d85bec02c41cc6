"""The GPU's driver, fabric manager and EFA: checked where the image has them, installed where it has not."""

from ansible_like.operations import Command, Operation, Package, Service
from bootstrap.specs import NodeSpec

DRIVER_BRANCH = "580"
"""The oldest driver branch that runs CUDA 13, which vLLM's wheels are built with."""

EFA_INSTALLER = "1.47.0"
"""Brings libfabric and aws-ofi-nccl in versions that need no FI_* or NCCL_* settings."""


def accelerator(spec: NodeSpec) -> list[Operation]:
    """Nothing on a CPU node; else everything up to a CUDA context on each GPU and EFA on each interface."""
    if spec.accelerator == "cpu":
        return []
    return [*([] if spec.image_has_driver else _install(spec)), *_fabric_manager(spec), _check(spec)]


def _install(spec: NodeSpec) -> list[Operation]:
    fabric_manager = [f"nvidia-fabricmanager-{DRIVER_BRANCH}"] if spec.needs_fabric_manager else []
    driver = (f"nvidia-driver-{DRIVER_BRANCH}-server-open", *fabric_manager)
    operations: list[Operation] = [
        Package(driver),
        # A loaded driver is enough; where the old one is in use, check-gpu asks for a reboot.
        Command(("modprobe", "nvidia"), creates="/proc/driver/nvidia/version", ok_codes=(0, 1)),
    ]
    if spec.efa_interfaces:
        url = f"https://efa-installer.amazonaws.com/aws-efa-installer-{EFA_INSTALLER}.tar.gz"
        script = (
            "set -eu\n"
            "directory=$(mktemp -d)\n"
            "trap 'rm -rf \"$directory\"' EXIT\n"
            f'curl --fail --silent --show-error --location --retry 5 {url} | tar -xz -C "$directory"\n'
            'cd "$directory/aws-efa-installer"\n'
            "./efa_installer.sh --yes --skip-limit-conf\n"
        )
        operations.append(
            Command(script, creates="/opt/amazon/efa/bin/fi_info", deadline_s=900, name="EFA software")
        )
    return operations


def _fabric_manager(spec: NodeSpec) -> list[Operation]:
    if not spec.needs_fabric_manager:
        return []
    return [Service("nvidia-fabricmanager.service", running=True, enabled=True, deadline_s=300)]


def _check(spec: NodeSpec) -> Operation:
    arguments = ["--gpus", str(spec.gpu_count), "--name", spec.gpu_name, "--driver", DRIVER_BRANCH]
    if spec.needs_fabric_manager:
        arguments.append("--fabric-manager")
    if spec.efa_interfaces:
        arguments += ["--efa", str(spec.efa_interfaces)]
    return Command(("/opt/drydock/bin/check-gpu", *arguments), deadline_s=300, name="GPU check")
