"""The outputs of a Pulumi stack that is up, secrets included."""

import json
import subprocess
from typing import Any

from cluster.problems import Failure


def stack_outputs(stack: str | None = None) -> dict[str, Any]:
    """The outputs of the stack of that name, by default the selected one. Raises Failure."""
    chosen = ["--stack", stack] if stack else []
    argv = ["pulumi", "stack", "output", "--json", "--show-secrets", *chosen]
    remedy = 'for the rehearsal: eval "$(drydock rehearsal env)"'
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise Failure("there is no pulumi on PATH", remedy) from error
    if done.returncode != 0:
        raise Failure(f"pulumi stack output: {done.stderr.strip()}", remedy)
    outputs: dict[str, Any] = json.loads(done.stdout)
    return outputs
