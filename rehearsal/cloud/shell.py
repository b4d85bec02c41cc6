"""Commands of the host, run with their failure told in full."""

import contextlib
import subprocess

from cluster.problems import Failure


def run(*argv: str, stdin: str | None = None) -> str:
    """The command's standard output. Raises `Failure`, with the command's own last words, where it fails."""
    try:
        done = subprocess.run(argv, input=stdin, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise Failure(f"`{argv[0]}` is not installed", "run scripts/setup, which installs it") from None
    if done.returncode:
        last = "\n".join((done.stderr or done.stdout).strip().splitlines()[-5:])
        raise Failure(
            f"`{' '.join(argv)}` ended with exit code {done.returncode}: {last}",
            "run it by hand as root to see why; `drydock rehearsal stop` puts the machine back as it was",
        )
    return done.stdout


def attempt(*argv: str) -> bool:
    """Whether the command is there and succeeded; for removing what may be gone already."""
    with contextlib.suppress(FileNotFoundError):
        return subprocess.run(argv, capture_output=True, check=False).returncode == 0
    return False
