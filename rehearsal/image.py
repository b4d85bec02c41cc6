"""The golden image of a node: a directory tree with systemd, cloud-init, sshd and vLLM's environment.

``python -m rehearsal.image`` makes it where it is missing; ``ensure()`` is the same for a caller.
"""

import hashlib
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from cluster.problems import Failure
from rehearsal.cached import command_line, contents, digest, is_held, lock, need_free, run, say, step
from rehearsal.paths import CACHE, REPO

SUITE = "bookworm"
VARIANT = "minbase"
DEFINITION = REPO / "rehearsal" / "image"
LOCAL_AUTHORITIES = Path("/usr/local/share/ca-certificates")
IMAGES = CACHE / "images"
NEEDED_GIB = 8.0
KEPT = 2
"""Images kept besides those in use: the current one and the one before, for who switches branches."""

FALLBACK_MIRROR = "http://deb.debian.org/debian"
FROM_HOST = re.compile(r"^(https?_proxy|all_proxy|no_proxy|UV_DEFAULT_INDEX|UV_INDEX_URL)$", re.IGNORECASE)
APT_FROM_HOST = re.compile(r"^Acquire::(https?::proxy|Check-Valid-Until|Check-Date)\b.*;$", re.IGNORECASE)
CHANGES_BY_ITSELF = ("run", "tmp", "proc", "sys", "dev", "var/log", "var/tmp", "var/cache")


def key(definition: Path = DEFINITION, authorities: Path = LOCAL_AUTHORITIES) -> str:
    """The name of the image's content: packages, versions, files and scripts, and the host's own CAs."""
    parts = [(f"definition/{name}", content) for name, content in contents(definition)]
    if authorities.is_dir():
        parts += [(f"authorities/{name}", content) for name, content in contents(authorities)]
    return digest([*parts, ("base", f"{SUITE} {VARIANT}".encode())])


def root() -> Path:
    """Where the current definition's image is, or would be."""
    return IMAGES / key() / "root"


def ensure() -> Path:
    """The image's root directory, made first where it is missing (minutes, needs root and the network).

    Raises Failure when a step fails or the image in the cache was changed.
    """
    _require_root()
    name = key()
    home = IMAGES / name
    with lock(IMAGES / f"{name}.lock") as held:
        if home.exists():
            check(home)
        else:
            need_free(IMAGES, NEEDED_GIB, "the image of a node")
            _build(home, held)
    os.utime(home / "image.json")
    _prune(name)
    return home / "root"


def verify() -> None:
    """Raises Failure when the image is missing or no longer what was built. Needs root; under a second."""
    _require_root()
    home = IMAGES / key()
    if not home.exists():
        raise Failure(f"there is no image of a node at {home}", "Run scripts/setup: it makes one.")
    check(home)


def check(home: Path) -> None:
    """Raises Failure when a cached image is no longer what was built."""
    try:
        marker = json.loads((home / "image.json").read_text())
        intact = marker["inventory"] == inventory(home / "root")
    except (OSError, ValueError, KeyError, TypeError):
        intact = False
    if not intact:
        raise Failure(
            f"the cached image of a node is damaged: {home} is not what was built",
            f"Stop the rehearsal (drydock rehearsal stop), then: rm -rf {home} and run scripts/setup again.",
        )


def inventory(tree: Path) -> str:
    """A digest over every path, type, mode and size in a tree, less what changes by itself."""
    total = hashlib.sha256()
    for line in sorted(_entries(tree, "")):
        total.update(line.encode(errors="surrogateescape"))
    return total.hexdigest()


def _entries(tree: Path, inside: str) -> Iterator[str]:
    with os.scandir(tree / inside) as entries:
        for entry in entries:
            path = f"{inside}/{entry.name}".lstrip("/")
            if path in CHANGES_BY_ITSELF:
                continue
            status = entry.stat(follow_symlinks=False)
            if entry.is_dir(follow_symlinks=False):
                yield f"{path} {status.st_mode:o}\n"
                yield from _entries(tree, path)
            else:
                yield f"{path} {status.st_mode:o} {status.st_size}\n"


def packages(definition: Path = DEFINITION) -> list[str]:
    """The Debian packages of the base system."""
    lines = (definition / "packages.txt").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def mirror(index_targets: str) -> str:
    """Debian's archive as this host reaches it, from ``apt-get indextargets`` lines "uri origin label"."""
    for line in index_targets.splitlines():
        match line.split():
            case [str(uri), "Debian", "Debian"] if uri.startswith(("http://", "https://")):
                return uri.rstrip("/")
    return FALLBACK_MIRROR


def bootstrap_command(tree: Path, archive: str, apt_options: Sequence[str]) -> list[str]:
    """The argument list that makes the base system; its mounts are seen by nobody and end with it."""
    return [
        "unshare",
        "--mount",
        "mmdebstrap",
        "--mode=root",
        f"--variant={VARIANT}",
        f"--include={','.join(packages())}",
        *(f"--aptopt={option}" for option in apt_options),
        SUITE,
        str(tree),
        archive,
    ]


def inside_command(
    tree: Path,
    command: Sequence[str],
    *,
    read_only: bool,
    network: bool,
    mounts: Mapping[Path, str],
    environment: Mapping[str, str],
) -> list[str]:
    """systemd-nspawn's argument list for one command in a tree; nothing of it outlives the command.

    ``mounts`` maps host paths to paths in the tree, read-only where the target does not end with ``:rw``.
    """
    return [
        "systemd-nspawn",
        "--quiet",
        f"--directory={tree}",
        f"--machine=drydock-setup-{os.getpid()}",
        "--register=no",
        "--keep-unit",
        "--settings=no",
        "--timezone=off",
        "--link-journal=no",
        "--pipe",
        *(["--read-only", "--tmpfs=/tmp"] if read_only else []),
        *(["--resolv-conf=bind-host"] if network else ["--private-network", "--resolv-conf=off"]),
        *(_bind(source, target) for source, target in mounts.items()),
        *(f"--setenv={name}={value}" for name, value in environment.items()),
        *command,
    ]


def _bind(source: Path, target: str) -> str:
    writable = target.endswith(":rw")
    return f"--bind{'' if writable else '-ro'}={source}:{target.removesuffix(':rw')}"


def _build(home: Path, held: int) -> None:
    """Makes the image beside its place, in steps that a second run finds done, and moves it there at once."""
    work = home.with_suffix(".building")
    tree, logs = work / "root", CACHE / "logs"
    remedy = "Check the network and the disk, then run scripts/setup again: finished steps are kept."
    scripts = {path: f"/run/drydock/{path.name}" for path in DEFINITION.iterdir() if path.is_file()}
    scripts[_uv()] = "/run/drydock/uv"
    from_host = {name: value for name, value in os.environ.items() if FROM_HOST.match(name)}

    def inside(script: str, *, network: bool) -> None:
        command = inside_command(
            tree,
            [f"/run/drydock/{script}"],
            read_only=False,
            network=network,
            mounts=scripts,
            environment=from_host,
        )
        log = logs / f"image-{Path(script).stem}.log"
        run(command, log=log, what=f"{script} in the image", remedy=remedy, held=[held])

    if not (work / "base.done").exists():
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        with step("image 1/3: base system"):
            command = bootstrap_command(tree, mirror(_index_targets()), _apt_options())
            run(command, log=logs / "image-base.log", what="mmdebstrap", remedy=remedy, held=[held])
            _copy_owned_by_root(DEFINITION / "files", tree)
            if LOCAL_AUTHORITIES.is_dir():
                _copy_owned_by_root(LOCAL_AUTHORITIES, tree / LOCAL_AUTHORITIES.relative_to("/"))
            (work / "base.done").touch()
    if not (work / "vllm.done").exists():
        with step("image 2/3: vLLM's environment"):
            inside("install-vllm.sh", network=True)
            (work / "vllm.done").touch()
    with step("image 3/3: services and checks"):
        inside("finish.sh", network=False)
        (work / "image.json").write_text(json.dumps({"inventory": inventory(tree)}) + "\n")
    work.rename(home)


def _copy_owned_by_root(source: Path, target: Path) -> None:
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_dir():
            place.mkdir(exist_ok=True, mode=0o755)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
            place.chmod(0o755 if os.access(path, os.X_OK) else 0o644)


def _index_targets() -> str:
    command = [
        "apt-get",
        "indextargets",
        "--format",
        "$(REPO_URI) $(ORIGIN) $(LABEL)",
        "Created-By: Packages",
    ]
    return subprocess.run(command, check=False, capture_output=True, text=True).stdout


def _apt_options() -> list[str]:
    dump = subprocess.run(["apt-config", "dump"], check=False, capture_output=True, text=True).stdout
    return [line for line in dump.splitlines() if APT_FROM_HOST.match(line)]


def _uv() -> Path:
    found = CACHE / "uv" / "bin" / "uv"
    if not found.exists():
        raise Failure(f"there is no uv at {found}", "Run scripts/setup: it puts uv there.")
    return found


def _require_root() -> None:
    if os.geteuid() != 0:
        raise Failure("the image of a node can only be made and checked by root", "Run scripts/setup.")


def _prune(current: str) -> None:
    """Removes older images that no mount uses, and what a build of another definition left behind."""
    mounted = Path("/proc/self/mounts").read_text()
    finished = [path for path in IMAGES.iterdir() if (path / "image.json").exists()]
    newest_first = sorted(finished, key=lambda path: (path / "image.json").stat().st_mtime, reverse=True)
    for old in newest_first[KEPT:]:
        if old.name != current and f"{old}/" not in mounted:
            say(f"removing an older image: {shlex.quote(str(old))}")
            shutil.rmtree(old)
    for leftover in IMAGES.glob("*.building"):
        if not is_held(leftover.with_suffix(".lock")):
            say(f"removing an image that was never finished: {shlex.quote(str(leftover))}")
            shutil.rmtree(leftover)


if __name__ == "__main__":
    command_line(lambda: say(f"image of a node: {ensure()}"))
