"""The Pulumi CLI: the one on PATH if new enough, else the official installer's, else our own build.

``python -m rehearsal.toolchain`` gets it where it is missing; ``pulumi_directory()`` is what to put on PATH.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path

from cluster.problems import Failure
from rehearsal.cached import command_line, digest, lock, need_free, run, say, step
from rehearsal.paths import CACHE, REPO

VERSION = "3.259.0"
"""Both the oldest version that is taken from PATH and the one that is installed."""
INSTALLER = "https://get.pulumi.com"
INSTALLER_WAIT_S = 15
MODULES = REPO / "tools"
PACKAGE = "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"
BUILD_FLAGS = (
    "-trimpath",
    "-buildvcs=false",
    "-ldflags",
    f"-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{VERSION}",
)
BUILD_NEEDS_GIB = 5.0
OLDEST_GO = "1.21"
"""The first Go that fetches the version named in go.mod by itself."""

TOOLS = CACHE / "tools"
WITHOUT_US = f"Or install Pulumi {VERSION} or newer yourself, so that `pulumi version` answers."


def key(modules: Path = MODULES, flags: tuple[str, ...] = BUILD_FLAGS) -> str:
    """The name of a built CLI: its pinned modules and how it is built."""
    files = [(name, (modules / name).read_bytes()) for name in ("go.mod", "go.sum")]
    return digest([*files, ("flags", " ".join(flags).encode())])


def is_new_enough(output: str) -> bool:
    """Whether ``pulumi version`` printed our version or a later one."""
    return parsed(output) >= parsed(VERSION)


def parsed(text: str) -> tuple[int, ...]:
    """The first dotted number in a text, () where there is none: "go1.26.8" gives (1, 26, 8)."""
    found = re.search(r"\d+(\.\d+)+", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def pulumi_directory() -> Path:
    """The directory of a usable Pulumi CLI; raises Failure when set-up has not been run."""
    if found := _on_path():
        return found
    for directory in (_official(), _built()):
        if (directory / "pulumi").exists():
            return directory
    raise Failure("there is no Pulumi CLI", f"Run scripts/setup: it gets one. {WITHOUT_US}")


def ensure() -> Path:
    """The directory of the Pulumi CLI, got first where it is missing (a download, or minutes of building)."""
    with lock(TOOLS / "pulumi.lock") as held:
        try:
            return pulumi_directory()
        except Failure:
            return _install(held) or _build(held)


def _official() -> Path:
    return TOOLS / f"pulumi-official-{VERSION}" / "bin"


def _built() -> Path:
    return TOOLS / f"pulumi-{key()}"


def _on_path() -> Path | None:
    found = shutil.which("pulumi")
    if not found:
        return None
    quiet = {**os.environ, "PULUMI_SKIP_UPDATE_CHECK": "1"}
    answer = subprocess.run([found, "version"], check=False, capture_output=True, text=True, env=quiet)
    return Path(found).parent if is_new_enough(answer.stdout) else None


def _install(held: int) -> Path | None:
    """Runs the official installer; None, with a line that says why, where it cannot be reached."""
    work = TOOLS / "official.building"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    script = work / "install.sh"
    fetch = ["curl", "-fsSL", "--connect-timeout", "5", "--max-time", str(INSTALLER_WAIT_S), INSTALLER]
    answer = subprocess.run([*fetch, "-o", str(script)], check=False, capture_output=True, text=True)
    if answer.returncode != 0:
        reason = answer.stderr.strip() or f"curl ended with exit code {answer.returncode}"
        say(f"Pulumi's own installer cannot be had ({reason}): building the CLI from its modules instead")
        shutil.rmtree(work)
        return None
    with step(f"Pulumi {VERSION}: official installer"):
        run(
            ["sh", str(script), "--version", VERSION, "--install-root", str(work / "out"), "--no-edit-path"],
            log=CACHE / "logs" / "pulumi-install.log",
            what="Pulumi's installer",
            remedy=f"Check the network and run scripts/setup again. {WITHOUT_US}",
            held=[held],
        )
    (work / "out").rename(_official().parent)
    shutil.rmtree(work)
    return _official()


def _build(held: int) -> Path:
    need_free(TOOLS, BUILD_NEEDS_GIB, "building the Pulumi CLI")
    go = _go(held)
    work = TOOLS / "pulumi.building"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    with step(f"Pulumi {VERSION}: building from its modules (about 5 minutes on 2 cores)"):
        run(
            [go, "build", "-C", str(MODULES), *BUILD_FLAGS, "-o", str(work / "pulumi"), PACKAGE],
            log=CACHE / "logs" / "pulumi-build.log",
            what="building the Pulumi CLI",
            remedy=f"Check that Go modules can be downloaded, then run scripts/setup again. {WITHOUT_US}",
            held=[held],
        )
    work.rename(_built())
    return _built()


def _go(held: int) -> str:
    """A Go new enough to build the CLI; Debian's package is installed where there is none at all."""
    usual = os.environ.get("PATH", "") + os.pathsep + "/usr/local/go/bin"
    if not shutil.which("go", path=usual):
        apt = [*([] if os.geteuid() == 0 else ["sudo"]), "apt-get", "-o", "DPkg::Lock::Timeout=600"]
        with step("Go, to build the Pulumi CLI"):
            for arguments in (["update"], ["install", "--yes", "--no-install-recommends", "golang-go"]):
                run(
                    [*apt, *arguments],
                    log=CACHE / "logs" / "apt-go.log",
                    what="installing Go",
                    remedy=f"Install Go {OLDEST_GO} or newer by hand. {WITHOUT_US}",
                    held=[held],
                )
    go = shutil.which("go", path=usual) or "/usr/bin/go"
    answer = subprocess.run([go, "env", "GOVERSION"], check=False, capture_output=True, text=True)
    if parsed(answer.stdout) < parsed(OLDEST_GO):
        raise Failure(
            f"{go} is {answer.stdout.strip()}, too old to build the Pulumi CLI",
            f"Install Go {OLDEST_GO} or newer and put it on PATH. {WITHOUT_US}",
        )
    return go


if __name__ == "__main__":
    command_line(lambda: say(f"Pulumi CLI: {ensure()}"))
