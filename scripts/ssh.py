"""`drydock ssh NODE [COMMAND …]`: a shell on a node of the selected stack, its host key already known."""

import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Annotated

import typer

from cluster.problems import BadInput, Problem
from scripts.stack_outputs import stack_outputs


def ssh(
    node: Annotated[
        str, typer.Argument(help="The node's name or rank, as in `pulumi stack output inventory`.")
    ],
    command: Annotated[list[str] | None, typer.Argument(help="What to run; a shell when empty.")] = None,
) -> None:
    """Open a shell on a node of the selected stack, or run a command there."""
    outputs = stack_outputs()
    inventory = outputs.get("inventory") or []
    found = [entry for entry in inventory if node in (entry["name"], str(entry["rank"]))]
    if not found:
        names = ", ".join(entry["name"] for entry in inventory) or "none: run pulumi up first"
        raise BadInput([Problem("NODE", f"the stack has no node {node!r}", f"its nodes: {names}")])
    target = found[0]
    with tempfile.TemporaryDirectory(prefix="drydock-ssh-") as folder:
        key, known_hosts = Path(folder, "key"), Path(folder, "known_hosts")
        key.touch(mode=0o600)
        key.write_text(outputs["sshPrivateKey"])
        known_hosts.write_text("".join(f"{target['address']} {line}\n" for line in target["hostKeys"]))
        options = ["-i", str(key), "-o", "IdentitiesOnly=yes", "-o", f"UserKnownHostsFile={known_hosts}",
                   "-o", "StrictHostKeyChecking=yes"]  # fmt: skip
        argv = ["ssh", *options, f"{target['user']}@{target['address']}", *(command or [])]
        code = subprocess.run(argv, check=False).returncode
    sys.exit(code)
