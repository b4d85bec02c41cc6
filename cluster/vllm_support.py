"""What the pinned vLLM serves: which architectures, and whose Python it may run for them."""

from cluster.families import FAMILIES
from cluster.problems import Problem
from cluster.shape import ModelShape

VLLM_VERSION = "0.32.0"
"""What nodes install; no setting chooses another."""
SAFE_WITH_REMOTE_CODE = "0.31.0"
"""Before it, whoever reached /tokenize could run code where --trust-remote-code was on (CVE-2026-114053)."""
TRUST_REMOTE_CODE = "--trust-remote-code"


def least_version(architecture: str) -> str:
    """The first vLLM release that serves the architecture; "" where the architecture is not known."""
    family = FAMILIES.get(architecture)
    return family.since if family else ""


def serving_problem(shape: ModelShape, path: str, version: str = VLLM_VERSION) -> Problem | None:
    """What is wrong where that vLLM is older than the architecture."""
    least = least_version(shape.architecture)
    if not least or _numbers(least) <= _numbers(version):
        return None
    return Problem(
        path,
        f"vLLM serves {shape.architecture} from {least} on, and nodes get {version}",
        "Take an older model, or a Drydock that pins that vLLM.",
    )


def remote_code_problem(shape: ModelShape, path: str, version: str = VLLM_VERSION) -> Problem | None:
    """What is wrong with --trust-remote-code for that model: it is not needed, or not safe."""
    name, remedy = shape.architecture, "Remove it."
    if least_version(name):
        what = (
            f"vLLM has {name} built in; {TRUST_REMOTE_CODE} would run the repository's own Python for nothing"
        )
    elif not shape.own_code:
        what = f"config.json names no Python of its own (auto_map): {TRUST_REMOTE_CODE} has nothing to run"
    elif _numbers(version) < _numbers(SAFE_WITH_REMOTE_CODE):
        what = (
            f"with {TRUST_REMOTE_CODE} vLLM {version} lets requests run code on the node (CVE-2026-114053); "
            f"{SAFE_WITH_REMOTE_CODE} is the first that does not"
        )
        remedy = "Remove it, or take a Drydock that pins that vLLM."
    else:
        return None
    return Problem(path, what, remedy)


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))
