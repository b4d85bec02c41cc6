"""Debian sources as data: the files as they are written, and lists that only the wanted key has checked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from ansible_like.agent import repositories
from ansible_like.agent.files import PathFacts
from ansible_like.agent.repositories import RepositoryFacts, plan, read, source_text
from ansible_like.agent.values import MakeDirectory, Refused, Remove, Run, WriteFile
from ansible_like.operations import Repository
from tests.ansible_like.test_operations import OPENPGP_KEY

KEY_PATH = "/etc/apt/keyrings/vendor.asc"
PATH = "/etc/apt/sources.list.d/vendor.sources"
OP = Repository(
    "vendor",
    ("https://a.example/debian", "https://b.example/debian"),
    ("stable", "stable-updates"),
    ("main", "extra"),
    OPENPGP_KEY,
    ("amd64", "arm64"),
)
TEXT = f"""\
Types: deb
URIs: https://a.example/debian https://b.example/debian
Suites: stable stable-updates
Components: main extra
Architectures: amd64 arm64
Signed-By: {KEY_PATH}
"""
RELEASE = "/var/lib/apt/lists/a.example_debian_dists_stable_InRelease"
WRITE_KEY = WriteFile(KEY_PATH, OPENPGP_KEY.encode(), 0o644, "root", "root")
WRITE_SOURCE = WriteFile(PATH, TEXT.encode(), 0o644, "root", "root")
UPDATE = Run(
    (
        *("apt-get", "-o", f"Dir::Etc::sourcelist={PATH}", "-o", "Dir::Etc::sourceparts=-"),
        *("-o", "APT::Get::List-Cleanup=0", "-o", "APT::Update::Error-Mode=any"),
        *("-o", "APT::Update::Post-Invoke::=touch --date=@1700000000 /var/lib/apt/lists"),
        *("update", "--quiet"),
    ),
    deadline_s=1200,
    environment={"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C.UTF-8", "NEEDRESTART_MODE": "l"},
    lock_timeout_s=600,
)
THERE = RepositoryFacts(
    has_apt=True,
    missing_folders=(),
    key=PathFacts("file", 0o644, "root", "root", OPENPGP_KEY.encode()),
    other_key="",
    source=PathFacts("file", 0o644, "root", "root", TEXT.encode()),
    releases=(RELEASE,),
    complete=True,
    updated_at_s=1_700_000_000,
)
NEW = THERE._replace(
    missing_folders=("/etc/apt/keyrings",), key=PathFacts(), source=PathFacts(), releases=(), complete=False
)


def test_the_source_as_it_is_written() -> None:
    assert source_text(OP) == TEXT
    flat = Repository("flat", ("file:/opt/packages",), ("./",), (), b"\x99")
    assert source_text(flat) == (
        "Types: deb\nURIs: file:/opt/packages\nSuites: ./\nSigned-By: /etc/apt/keyrings/flat.gpg\n"
    )


def test_as_wanted() -> None:
    assert plan(OP, THERE).actions == ()
    assert plan(OP, THERE).why == "key and source are as wanted, and its lists are here"


def test_a_new_one_brings_key_and_source_and_then_its_own_lists_only() -> None:
    made = plan(OP, NEW)
    assert made.actions == (MakeDirectory("/etc/apt/keyrings"), WRITE_KEY, WRITE_SOURCE, UPDATE)
    assert made.why == "key, source"
    assert made.diff.endswith("+ lists of vendor")


def test_lists_that_another_key_or_source_has_checked_go_first() -> None:
    other_key = THERE._replace(key=THERE.key._replace(content=b"other"))
    assert plan(OP, other_key).actions == (Remove(RELEASE), WRITE_KEY, UPDATE)
    other_source = THERE._replace(source=THERE.source._replace(content=b"other"))
    assert plan(OP, other_source).actions == (Remove(RELEASE), WRITE_SOURCE, UPDATE)


def test_lists_that_are_missing_are_fetched() -> None:
    # also what a run that was killed or failed before its end has left
    made = plan(OP, THERE._replace(complete=False))
    assert (made.actions, made.why, made.diff) == ((UPDATE,), "no lists", "+ lists of vendor")


def test_the_other_form_of_the_key_goes() -> None:
    other = "/etc/apt/keyrings/vendor.gpg"
    assert plan(OP, THERE._replace(other_key=other)).actions == (Remove(other),)


def test_it_waits_for_the_lock_as_long_as_it_is_told() -> None:
    (run,) = plan(replace(OP, lock_timeout_s=5), THERE._replace(complete=False)).actions
    assert isinstance(run, Run)
    assert (run.lock_timeout_s, run.deadline_s) == (5, 605)


def test_a_host_without_apt_is_refused() -> None:
    with pytest.raises(Refused, match="Debian and Ubuntu only"):
        plan(OP, THERE._replace(has_apt=False))


@pytest.mark.parametrize(
    ("uri", "suite", "name"),
    [
        ("https://a.example/debian", "stable", "a.example_debian_dists_stable_InRelease"),
        ("https://me:pass@a.example:8080/a_b~c/", "x/y", "a.example:8080_a%5fb%7ec_dists_x_y_InRelease"),
        ("file:/opt/repository", "./", "_opt_repository_._InRelease"),
        ("http://a.example/ü%20", "/", "a.example_%c3%bc%2520_Release"),
    ],
)
def test_lists_are_found_by_the_names_that_apt_gives_them(
    uri: str, suite: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repositories, "LISTS", str(tmp_path))
    op = replace(OP, uris=(uri,), suites=(suite,))
    assert not read(op).complete
    (tmp_path / name).touch()
    facts = read(op)
    assert (facts.complete, facts.releases) == (True, (str(tmp_path / name),))
    assert not read(replace(op, suites=(suite, "other"))).complete


def test_the_age_of_all_lists_is_that_of_the_folder_once_there_are_any(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repositories, "LISTS", str(tmp_path))
    assert read(OP).updated_at_s == 0
    (tmp_path / "x_Packages").touch()
    assert read(OP).updated_at_s == int(tmp_path.stat().st_mtime)
