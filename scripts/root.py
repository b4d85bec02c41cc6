"""The rehearsal needs root for its machines and its bridge; a user with sudo need not think of it."""

import os
import shutil
import sys

from cluster.problems import BadInput, Problem

KEPT_VARIABLES = "HOME,PATH,DRYDOCK_CACHE,DRYDOCK_STATE,CI,TERM"


def become_root() -> None:
    """Run this same command again through sudo unless we are root. Raises BadInput where there is no sudo."""
    if os.geteuid() == 0:
        return
    if not shutil.which("sudo"):
        raise BadInput(
            [
                Problem(
                    "user", "the rehearsal boots machines and needs root", "run it as root, or install sudo"
                )
            ]
        )
    os.execvp(  # noqa: S606 - an argument list; a shell would have to quote it
        "sudo",
        ["sudo", f"--preserve-env={KEPT_VARIABLES}", sys.executable, "-m", "scripts.drydock", *sys.argv[1:]],
    )
