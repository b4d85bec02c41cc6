"""Files, directories and links as data: facts and arguments → exact actions."""

from __future__ import annotations

import difflib
from dataclasses import replace

import pytest

from ansible_like.agent.files import DIFF_LINES, PathFacts, plan_absent, plan_directory, plan_file, plan_link
from ansible_like.agent.values import MakeDirectory, MakeLink, Refused, Remove, SetAttributes, WriteFile
from ansible_like.operations import Absent, Directory, File, Link

FILE = File("/etc/a", "new\n")
THERE = PathFacts("file", 0o644, "root", "root", b"new\n")
FOLDER = PathFacts("directory", 0o755, "root", "root", empty=False)
WRITE = WriteFile("/etc/a", b"new\n", 0o644, "root", "root")


def test_a_file_as_wanted_is_left_alone_and_says_why() -> None:
    plan = plan_file(FILE, THERE)
    assert plan.actions == ()
    assert plan.why == "content, mode and owner are as wanted"


def test_a_new_file_is_written_with_its_diff() -> None:
    plan = plan_file(FILE, PathFacts())
    assert plan.actions == (WRITE,)
    assert plan.diff == "--- /dev/null\n+++ /etc/a\n@@ -0,0 +1 @@\n+new"


def test_other_content_is_replaced() -> None:
    plan = plan_file(FILE, THERE._replace(content=b"old\n"))
    assert plan.actions == (WRITE,)
    assert plan.diff == "--- /etc/a\n+++ /etc/a\n@@ -1 +1 @@\n-old\n+new"


@pytest.mark.parametrize("differs", [{"mode": 0o600}, {"owner": "app"}, {"group": "app"}])
def test_only_mode_or_owner_differ_so_the_content_is_not_written(differs: dict[str, object]) -> None:
    plan = plan_file(FILE, THERE._replace(**differs))  # type: ignore[arg-type]
    assert plan.actions == (SetAttributes("/etc/a", 0o644, "root", "root"),)
    assert "+ 0644 root:root /etc/a" in plan.diff


def test_a_secret_is_in_no_diff() -> None:
    secret = File("/etc/key", "k-12345", mode=0o600, secret=True)
    for facts in (PathFacts(), PathFacts("file", 0o600, "root", "root", b"k-old")):
        plan = plan_file(secret, facts)
        assert plan.diff == "± /etc/key: the content is secret and not shown"


def test_binary_content_has_a_diff_in_bytes() -> None:
    assert plan_file(File("/b", b"\xff\x00"), PathFacts()).diff == "± /b: binary, 0 → 2 bytes"


def test_a_long_diff_ends() -> None:
    diff = plan_file(File("/b", "line\n" * 1000), PathFacts()).diff
    assert len(diff.splitlines()) == 201
    assert diff.splitlines()[-1] == "… 803 more lines"


def test_a_link_becomes_a_file() -> None:
    assert plan_file(FILE, PathFacts("link", target="/elsewhere")).actions == (WRITE,)


def test_a_directory_never_becomes_a_file() -> None:
    with pytest.raises(Refused, match="is a directory"):
        plan_file(FILE, FOLDER)


def test_directories() -> None:
    op = Directory("/srv/a", 0o750, "app", "app")
    assert plan_directory(op, PathFacts()).actions == (MakeDirectory("/srv/a", 0o750, "app", "app"),)
    assert plan_directory(op, FOLDER).actions == (SetAttributes("/srv/a", 0o750, "app", "app"),)
    assert plan_directory(op, PathFacts("directory", 0o750, "app", "app")).actions == ()
    with pytest.raises(Refused, match="is a file, not a directory"):
        plan_directory(op, THERE)


def test_absent() -> None:
    assert plan_absent(Absent("/a"), PathFacts()).actions == ()
    assert plan_absent(Absent("/a"), FOLDER).actions == (Remove("/a"),)
    assert plan_absent(Absent("/a"), THERE).actions == (Remove("/a"),)


def test_links() -> None:
    op = Link("/opt/current", "v2")
    make = MakeLink("/opt/current", "v2")
    assert plan_link(op, PathFacts()).actions == (make,)
    assert plan_link(op, PathFacts("link", target="v2")).actions == ()
    changed = plan_link(op, PathFacts("link", target="v1"))
    assert changed.actions == (make,)
    assert changed.diff == "- /opt/current -> v1\n+ /opt/current -> v2"
    assert plan_link(op, PathFacts("directory")).actions == (Remove("/opt/current"), make)
    for would_be_lost in (FOLDER, THERE):
        with pytest.raises(Refused, match="would be lost"):
            plan_link(op, would_be_lost)


@pytest.mark.parametrize("text", ["", "one", "one\n", "one\ntwo\n\n", "a\rb\x0cc\n" + "line\n" * 300])
def test_the_diff_of_a_new_file_is_that_of_difflib(text: str) -> None:
    plan = plan_file(replace(FILE, content=text), PathFacts())
    lines = list(difflib.unified_diff([], text.splitlines(), "/dev/null", FILE.path, lineterm="", n=2))
    more = [f"… {len(lines) - DIFF_LINES} more lines"] if len(lines) > DIFF_LINES else []
    assert plan.diff == "\n".join(lines[:DIFF_LINES] + more)
