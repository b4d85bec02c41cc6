"""Templates become files on the controller, and what is wrong in one is told with its file and line."""

from __future__ import annotations

from pathlib import Path

import pytest

from ansible_like.connection import Target
from ansible_like.operations import File
from ansible_like.play import Host, NoVariables, Play, PlayRefused, Role, compile_play
from ansible_like.problems import Problem
from ansible_like.template import template


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "app.conf.j2"


def problem_of(source: Path, **variables: object) -> Problem:
    with pytest.raises(PlayRefused) as refusal:
        template("/etc/app.conf", source, variables)
    (problem,) = refusal.value.problems
    return problem


def test_a_template_is_a_file_with_all_that_a_file_has(source: Path) -> None:
    source.write_text("{% for peer in peers %}\n  peer {{ peer }} <&>\n{% endfor %}\nend\n")
    file = template(
        "/etc/app.conf", source, {"peers": ["a", "b"]}, mode=0o600, owner="app", group="crew", secret=True
    )
    text = "  peer a <&>\n  peer b <&>\nend\n"
    assert file == File("/etc/app.conf", text, 0o600, "app", "crew", secret=True)


def test_it_includes_what_lies_beside_it_and_is_read_anew_when_it_changed(source: Path) -> None:
    source.write_text("{% include 'part' %}")
    (source.parent / "part").write_text("{{ x }}")
    assert template("/a", source, {"x": 1}).content == "1"
    source.write_text("other {{ x }}")
    assert template("/a", source, {"x": 1}).content == "other 1"


def test_a_name_that_is_not_given_is_told_with_its_line(source: Path) -> None:
    source.write_text("port = {{ port }}\nname = {{ nmae }}\n")
    assert problem_of(source, port=1, name="x") == Problem(
        f"template {source}, line 2",
        "'nmae' is undefined",
        "Give it among the variables, or correct its name.",
    )


def test_the_line_is_that_of_an_included_template(source: Path) -> None:
    source.write_text("\n\n{% include 'part' %}")
    (source.parent / "part").write_text("\n{{ missing }}")
    assert problem_of(source).where == f"template {source.parent}/part, line 2"


def test_a_syntax_error_is_told_with_its_line(source: Path) -> None:
    source.write_text("fine\n{% if x %}\n")
    problem = problem_of(source)
    assert problem.where == f"template {source}, line 2"
    assert "looking for" in problem.what


def test_a_template_that_is_not_there(source: Path) -> None:
    assert problem_of(source).what == "there is no template app.conf.j2"
    assert problem_of(source).where == f"template {source}"
    source.write_text("\n{% include 'part' %}")
    assert problem_of(source).what == "there is no template part"
    assert problem_of(source).where == f"template {source}, line 2"


def test_what_another_error_says_stays_untold(source: Path) -> None:
    source.write_text("{{ password + 1 }}{{ 1 / 0 }}\n")
    problem = problem_of(source, password="hunter22")
    assert (problem.where, problem.what) == (f"template {source}, line 1", "TypeError")
    source.write_bytes(b"\xff")
    assert problem_of(source).what == "UnicodeDecodeError"


def test_a_role_with_a_bad_template_is_refused_with_the_templates_own_place(source: Path) -> None:
    source.write_text("{{ port }}")

    def pages(host: Host[NoVariables]) -> list[File]:
        return [template("/etc/app.conf", source, {"host": host})]

    hosts = [Host(Target(name, "192.0.2.1", "root", "", ()), NoVariables()) for name in ("x", "y")]
    with pytest.raises(PlayRefused) as refusal:
        compile_play(Play("site", NoVariables, (Role("pages", pages),)), hosts)
    assert [(problem.where, problem.what) for problem in refusal.value.problems] == [
        (f"template {source}, line 1", "'port' is undefined (on x and 1 more)")
    ]
