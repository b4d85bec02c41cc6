"""The peers' own Python environments: pinned with hashes, made once in the cache, beside the project's."""

import json
import subprocess
import sys
from pathlib import Path

from rehearsal.cached import digest, lock, run, step
from rehearsal.paths import CACHE

REQUIREMENTS = Path(__file__).parent / "requirements"
HOME = CACHE / "bench-ssh"
UV = CACHE / "uv" / "bin" / "uv"
NAMES = ("ansible", "fabric", "pyinfra")
"""Mitogen lives in Ansible's: it is a plugin of it."""


def place(name: str) -> Path:
    """Where an environment is, or would be."""
    text = (REQUIREMENTS / f"{name}.txt").read_bytes()
    return HOME / digest([(name, text), ("python", sys.version.encode())])


def ensure() -> None:
    """Makes the environments that are missing. Raises Failure."""
    for name in NAMES:
        made = place(name)
        with lock(made.with_suffix(".lock")) as held:
            if (made / "done").exists():
                continue
            with step(f"{name}'s environment"):
                log = CACHE / "logs" / f"bench-ssh-{name}.log"
                remedy = "Check the network and run `make bench-ssh` again."
                venv = [str(UV), "venv", "--clear", "--python", sys.executable, str(made)]
                run(venv, log=log, what=f"{name}'s environment", remedy=remedy, held=[held])
                install = [str(UV), "pip", "install", "--python", str(made / "bin/python")]
                install += ["--require-hashes", "-r", str(REQUIREMENTS / f"{name}.txt")]
                run(install, log=log, what=f"{name}'s packages", remedy=remedy, held=[held])
                compile_all = [str(made / "bin/python"), "-m", "compileall", "-q", str(made / "lib")]
                subprocess.run(compile_all, check=False, capture_output=True)
                (made / "done").touch()


def versions() -> dict[str, str]:
    """What is compared: each peer's own version, by its name."""
    names = ["ansible-core", "mitogen", "pyinfra", "fabric", "paramiko"]
    ask = (
        "import importlib.metadata as m, json, sys; "
        "have = {d.metadata['Name'].lower(): d.version for d in m.distributions()}; "
        "print(json.dumps(have))"
    )
    found: dict[str, str] = {}
    for name in NAMES:
        argv = [str(place(name) / "bin/python"), "-c", ask]
        have = json.loads(subprocess.run(argv, check=True, capture_output=True, text=True).stdout)
        found |= {key: have[key] for key in names[:4] if key in have}
    import paramiko

    ssh = subprocess.run(["ssh", "-V"], check=True, capture_output=True, text=True).stderr
    python = ".".join(map(str, sys.version_info[:3]))
    return found | {"paramiko (engine)": paramiko.__version__, "ssh": ssh.split(",")[0], "python": python}
