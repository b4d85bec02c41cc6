"""A play from a Python file: the one that is meant, and what is wrong with the file at its line."""

import sys
from pathlib import Path

import pytest

from cluster.problems import BadInput, Problem
from scripts.apply_play import load_play

PLAY = """\
from __future__ import annotations
from dataclasses import dataclass
from ansible_like.operations import Command
from ansible_like.play import Play, Role

@dataclass
class Variables:
    text: str

one = Play("one", Variables, [Role("all", [Command("true")])])
"""


@pytest.fixture(autouse=True)
def own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])


def problem_of(source: Path | str) -> Problem:
    with pytest.raises(BadInput) as refused:
        load_play(str(source))
    (problem,) = refused.value.problems
    return problem


def written(folder: Path, text: str, name: str = "site.py") -> Path:
    (folder / name).write_text(text)
    return folder / name


def test_the_only_play_needs_no_name(tmp_path: Path) -> None:
    assert load_play(str(written(tmp_path, PLAY))).name == "one"


def test_a_play_is_called_by_its_name(tmp_path: Path) -> None:
    path = written(tmp_path, PLAY + 'two = Play("two", Variables, [])\n')
    assert load_play(f"{path}:two").name == "two"
    assert problem_of(path).what == "holds 2 Plays: one, two"
    assert f"{path}:one" in problem_of(path).remedy
    assert problem_of(f"{path}:twoo") == Problem(str(path), "holds no Play 'twoo'", "Did you mean 'two'?")


def test_a_second_name_for_the_same_play_is_no_second_play(tmp_path: Path) -> None:
    assert load_play(str(written(tmp_path, PLAY + "same = one\n"))).name == "one"


def test_a_file_whose_name_has_a_colon_is_a_file(tmp_path: Path) -> None:
    assert load_play(str(written(tmp_path, PLAY, "a:b.py"))).name == "one"


def test_a_play_finds_its_neighbours(tmp_path: Path) -> None:
    written(tmp_path, PLAY, "neighbour_of_site.py")
    path = written(tmp_path, "from neighbour_of_site import one\n")
    assert load_play(str(path)).name == "one"
    assert not (tmp_path / "__pycache__/site.pyc").exists()


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("x = (\n", 1, "is no Python: '(' was never closed"),
        ("\nimport no_such_module\n", 2, "ModuleNotFoundError: No module named 'no_such_module'"),
        ("def f():\n    return 1 / 0\n\nf()\n", 2, "ZeroDivisionError: division by zero"),
        ("import sys\nsys.exit(3)\n", 2, "SystemExit: 3"),
        ("raise ValueError\n", 1, "ValueError"),
        ("import json\njson.loads('{')\n", 2, "JSONDecodeError: Expecting property name"),
    ],
)
def test_what_its_code_raises_is_a_problem_at_its_line(
    tmp_path: Path, text: str, line: int, what: str
) -> None:
    path = written(tmp_path, text)
    problem = problem_of(path)
    assert problem.path == f"{path}:{line}"
    assert problem.what.startswith(what)


def test_what_a_neighbour_raises_says_where(tmp_path: Path) -> None:
    deep = written(tmp_path, "\n1 / 0\n", "divides_by_zero.py")
    path = written(tmp_path, "import divides_by_zero\n")
    problem = problem_of(path)
    assert (problem.path, problem.what) == (
        f"{path}:1",
        f"ZeroDivisionError: division by zero (raised in {deep}:2)",
    )


def test_a_neighbour_that_is_no_python_is_told_at_its_own_line(tmp_path: Path) -> None:
    deep = written(tmp_path, "\nx = = 1\n", "is_no_python.py")
    assert problem_of(written(tmp_path, "import is_no_python\n")).path == f"{deep}:2"


def test_a_file_without_a_play_and_one_that_is_not_there(tmp_path: Path) -> None:
    assert problem_of(written(tmp_path, "x = 1\n")).what == "holds no Play"
    assert problem_of(tmp_path / "none.py").what == "can't be read: No such file or directory"
