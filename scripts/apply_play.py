"""A play from the Python file that holds it."""

import difflib
import sys
import traceback
import types
from pathlib import Path
from typing import Any

from ansible_like.play import Play
from cluster.problems import BadInput, Problem

MODULE = "drydock_play"
"""What the play's module is called; its own stem might be the name of a module that others import."""


def load_play(source: str) -> Play[Any]:
    """The play of ``FILE.py`` or ``FILE.py:NAME``. Raises BadInput, also for what its code raises."""
    path, name = _place(source)
    plays = {key: value for key, value in _run(path).items() if isinstance(value, Play)}
    if name:
        if name not in plays:
            near = difflib.get_close_matches(name, plays, n=1)
            there = f"Did you mean {near[0]!r}?" if near else f"There are: {', '.join(plays) or 'none'}."
            raise BadInput([Problem(str(path), f"holds no Play {name!r}", there)])
        return plays[name]
    if not plays:
        example = "`play = Play(name=…, variables=…, roles=[…])`"
        raise BadInput([Problem(str(path), "holds no Play", f"Give it one at its top level: {example}.")])
    if len({id(play) for play in plays.values()}) > 1:
        names = ", ".join(plays)
        which = f"Say which, e.g. {path}:{next(iter(plays))}."
        raise BadInput([Problem(str(path), f"holds {len(plays)} Plays: {names}", which)])
    return next(iter(plays.values()))


def _place(source: str) -> tuple[Path, str]:
    if Path(source).exists():
        return Path(source), ""
    file, colon, name = source.rpartition(":")
    return (Path(file), name) if colon else (Path(source), "")


def _run(path: Path) -> dict[str, Any]:
    """Run the file as a module that finds its neighbours, as ``python FILE.py`` would."""
    try:
        code = path.read_bytes()
    except OSError as error:
        raise BadInput(
            [Problem(str(path), f"can't be read: {error.strerror}", "Name a Python file that holds a Play.")]
        ) from error
    module = types.ModuleType(MODULE)
    module.__file__ = str(path)
    sys.modules[MODULE] = module  # where annotations of its classes are looked up
    sys.path.insert(0, str(path.resolve().parent))
    try:
        exec(compile(code, str(path), "exec"), vars(module))  # noqa: S102 - the user's own play
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise BadInput([_problem(path, error)]) from error
    return vars(module)


def _problem(path: Path, error: BaseException) -> Problem:
    """What the play's code raised, at its own line that led there."""
    if isinstance(error, SyntaxError) and error.filename:
        return Problem(f"{error.filename}:{error.lineno}", f"is no Python: {error.msg}", "Correct it there.")
    frames = [each for each in traceback.extract_tb(error.__traceback__) if not each.filename.startswith("<")]
    own = next((each for each in reversed(frames) if each.filename == str(path)), None)
    where = f"{path}:{own.lineno}" if own else str(path)
    deeper = f" (raised in {frames[-1].filename}:{frames[-1].lineno})" if own and frames[-1] != own else ""
    remedy = "Correct it there."
    if isinstance(error, ModuleNotFoundError):
        remedy = f"Put the module beside the play, or install it for {sys.executable}."
    text = f": {error}" if str(error) else ""
    return Problem(where, f"{type(error).__name__}{text}{deeper}", remedy)
