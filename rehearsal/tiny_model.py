"""The tiny model of the rehearsal: a real Llama that knows a dozen answers by heart.

``python -m rehearsal.tiny_model`` trains it inside the golden image where it is missing; ``ensure()`` is the
same for a caller.
"""

import hashlib
import json
import os
import shutil
from pathlib import Path

from cluster.problems import Failure
from rehearsal import image
from rehearsal.cached import command_line, contents, digest, lock, run, say, step
from rehearsal.paths import CACHE, REPO

NAME = "drydock-tiny"
DEFINITION = REPO / "rehearsal" / "tiny_model"
MODELS = CACHE / "models"
STABLE = MODELS / NAME
"""The path that a stack names: a link to the current model."""
WHERE_IN_IMAGE = "/run/drydock"


def key(definition: Path = DEFINITION, libraries: Path = image.DEFINITION / "requirements.txt") -> str:
    """The name of the model's content: the lessons, the training and the versions it trains with."""
    return digest([*contents(definition), ("requirements.txt", libraries.read_bytes())])


def ensure() -> Path:
    """The model's directory by its stable name, trained first where it is missing.

    Training takes half a minute and needs root and the golden image. Raises Failure when it fails, or when
    the model in the cache was changed.
    """
    name = key()
    home = MODELS / name
    with lock(MODELS / f"{name}.lock") as held:
        if not home.exists():
            _build(home, image.ensure(), held)
        check(home)
        _link(home / NAME)
    return STABLE


def check(home: Path) -> None:
    """Raises Failure when a cached model's files are not those that were trained."""
    try:
        intact = json.loads((home / "sha256.json").read_text()) == _sums(home / NAME)
    except (OSError, ValueError):
        intact = False
    if not intact:
        raise Failure(
            f"the cached model is damaged: {home} is not what was trained",
            f"rm -rf {home} and run scripts/setup again.",
        )


def _sums(directory: Path) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in contents(directory)}


def _build(home: Path, tree: Path, held: int) -> None:
    work = home.with_suffix(".building")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    command = image.inside_command(
        tree,
        ["/opt/vllm/bin/python", f"{WHERE_IN_IMAGE}/lessons/train.py", f"{WHERE_IN_IMAGE}/out/{NAME}"],
        read_only=True,
        network=False,
        mounts={DEFINITION: f"{WHERE_IN_IMAGE}/lessons", work: f"{WHERE_IN_IMAGE}/out:rw"},
        environment={"HOME": "/tmp", "HF_HUB_OFFLINE": "1", "PYTHONDONTWRITEBYTECODE": "1"},  # noqa: S108 - the tree's own tmpfs
    )
    with step("tiny model: training"):
        run(
            command,
            log=CACHE / "logs" / "tiny-model.log",
            what="the training of the tiny model",
            remedy="Run scripts/setup again.",
            held=[held],
        )
    for path in (work / NAME).iterdir():
        path.chmod(0o644)
    (work / "sha256.json").write_text(json.dumps(_sums(work / NAME), indent=1) + "\n")
    work.rename(home)


def _link(target: Path) -> None:
    """Points the stable name at the current model, at once."""
    fresh = STABLE.with_suffix(f".{os.getpid()}")
    fresh.symlink_to(target.relative_to(MODELS))
    fresh.replace(STABLE)


if __name__ == "__main__":
    command_line(lambda: say(f"tiny model: {ensure()}"))
