"""`make coverage`: the tests of ansible_like, with the lines counted that their agents run on hosts.

The agent is another process, started by ``python3 -I -S`` and often by sshd or sudo. So hosts get a
``python3`` that counts lines while it runs an agent, and is the plain one for all else.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

FOLDER = os.environ.get("DRYDOCK_MEASURED", "")
"""Where the lines are counted; empty: they are not."""
PYTHON = """\
#!/bin/sh
[ "$1 $2" = "-I -S" ] || exec {python} "$@"
exec {python} -I -S -X utf8 {folder}/agent.py "$6"
"""
AGENT = """\
import sys
sys.path.insert(0, {folder!r})
import coverage
del sys.path[0]
counted = coverage.Coverage({folder!r} + "/lines/all", True, include="*/ansible_like/*", config_file=False)
counted.set_option("run:patch", ["_exit", "execv"])  # for its children, until they are programs
counted.start()
try:
    exec(sys.argv[1], {{"__name__": "__main__"}})
finally:
    counted.stop()
    counted.save()
"""


def path() -> str:
    """The PATH of a host that is this machine."""
    return f"{FOLDER}/bin:{os.environ['PATH']}" if FOLDER else os.environ["PATH"]


def sshd_config() -> str:
    return f"SetEnv PATH={path()}\n" if FOLDER else ""


def furnish(folder: Path, place: str, python: str) -> None:
    """Lay out in ``folder``, which the host knows as ``place``, a bin/python3 that counts."""
    import coverage

    (folder / "bin").mkdir(parents=True)
    shutil.copytree(Path(coverage.__file__).parent, folder / "coverage")
    (folder / "agent.py").write_text(AGENT.format(folder=place))
    (folder / "bin/python3").write_text(PYTHON.format(folder=place, python=python))
    (folder / "bin/python3").chmod(0o755)
    (folder / "lines").mkdir()
    (folder / "lines").chmod(0o1777)


def furnish_node(root: Path) -> None:
    """Lay it out in a node's file system, where sudo finds it first too."""
    if FOLDER:
        furnish(root / "opt/measured", "/opt/measured", "/usr/bin/python3")
        (root / "usr/local/bin/python3").symlink_to("/opt/measured/bin/python3")


def collect_node(root: Path) -> None:
    """Bring home what was counted there."""
    if FOLDER:
        shutil.copytree(root / "opt/measured/lines", f"{FOLDER}/lines", dirs_exist_ok=True)


def drop_torn(lines: Path) -> None:
    """Remove what agents that a test killed had written only in part."""
    import coverage
    from coverage.exceptions import CoverageException

    for path in lines.iterdir():
        try:
            data = coverage.CoverageData(str(path))
            data.read()
            whole = bool(data.measured_files())
        except CoverageException:
            whole = False
        if not whole:
            path.unlink()


def main(arguments: list[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="measured-") as folder:
        Path(folder).chmod(0o755)
        furnish(Path(folder), folder, sys.executable)
        environment = {**os.environ, "DRYDOCK_MEASURED": folder, "COVERAGE_FILE": f"{folder}/lines/all"}
        counted = [sys.executable, "-m", "coverage"]
        tests = [*counted, "run", "-m", "pytest", "-q", "tests/ansible_like", *arguments]
        done = subprocess.run(tests, env=environment, check=False)
        if done.returncode:
            return done.returncode
        drop_torn(Path(folder, "lines"))
        subprocess.run([*counted, "combine", "--quiet"], env=environment, check=True)
        return subprocess.run([*counted, "report"], env=environment, check=False).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
