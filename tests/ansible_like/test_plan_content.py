"""Uploads and downloads as data: facts and arguments → exact actions, and the blocks of a file."""

from __future__ import annotations

import pytest

from ansible_like.agent import downloads, uploads
from ansible_like.agent.downloads import Layout, laid_out, map_header, missing, read_map, total_of
from ansible_like.agent.files import PathFacts
from ansible_like.agent.parts import ContentFacts, Progress, map_of, part_of
from ansible_like.agent.values import Fetch, Receive, Refused, Remove, SetAttributes
from ansible_like.operations import Download, Upload

SUM, OTHER = "ab" * 32, "cd" * 32
UPLOAD = Upload("/opt/a", "", size_bytes=9, sha256=SUM)
DOWNLOAD = Download("https://me:secret@h/a?sig=secret", "/opt/a", SUM)
RECEIVE = Receive("/opt/a", 9, SUM, 0o644, "root", "root")
FETCH = Fetch(DOWNLOAD.url, "/opt/a", SUM, 0o644, "root", "root", 4, 3600)
OF_ROOT = PathFacts("file", 0o644, "root", "root")
AS_WANTED = ContentFacts(OF_ROOT, 9, SUM)


def test_content_as_wanted_is_left_alone_and_says_why() -> None:
    for plan in (uploads.plan(UPLOAD, AS_WANTED), downloads.plan(DOWNLOAD, AS_WANTED)):
        assert (plan.actions, plan.why) == ((), "content, mode and owner are as wanted")


def test_new_content_is_brought_and_the_diff_tells_size_and_digest_but_no_secret() -> None:
    plan = uploads.plan(UPLOAD, ContentFacts(PathFacts()))
    assert (plan.actions, plan.why) == ((RECEIVE,), "new")
    assert plan.diff == f"+ /opt/a: 9 bytes, sha256 {SUM}"
    plan = downloads.plan(DOWNLOAD, ContentFacts(PathFacts()))
    assert (plan.actions, plan.why) == ((FETCH,), "new")
    assert plan.diff == f"+ /opt/a: sha256 {SUM}, from https://h/a?…"


def test_other_content_is_replaced() -> None:
    plan = uploads.plan(UPLOAD, ContentFacts(OF_ROOT._replace(mode=0o600), 8))
    assert (plan.actions, plan.why) == ((RECEIVE,), "content")
    assert plan.diff.splitlines() == [
        "- /opt/a: 8 bytes",
        f"+ /opt/a: 9 bytes, sha256 {SUM}",
        "- 0600 root:root /opt/a",
        "+ 0644 root:root /opt/a",
    ]
    assert downloads.plan(DOWNLOAD, ContentFacts(OF_ROOT, 9, OTHER)).actions == (FETCH,)
    assert uploads.plan(UPLOAD, ContentFacts(PathFacts("link"))).why == "was a link"


def test_where_only_mode_or_owner_differ_nothing_is_brought() -> None:
    plan = uploads.plan(UPLOAD, AS_WANTED._replace(path=OF_ROOT._replace(owner="app")))
    assert (plan.actions, plan.why) == ((SetAttributes("/opt/a", 0o644, "root", "root"),), "mode or owner")


def test_what_was_cut_off_and_is_not_needed_any_more_is_removed() -> None:
    plan = uploads.plan(UPLOAD, AS_WANTED._replace(parts=(part_of("/opt/a"), map_of("/opt/a"))))
    assert plan.actions == (Remove("/opt/.a.ansible_like.part"), Remove("/opt/.a.ansible_like.map"))
    assert plan.why == "what a run that was cut off left"


def test_a_directory_is_not_replaced() -> None:
    with pytest.raises(Refused, match="is a directory"):
        uploads.plan(UPLOAD, ContentFacts(PathFacts("directory")))


@pytest.mark.parametrize(
    ("size_bytes", "block_mib", "blocks", "last"),
    [
        (1, 4, 1, (0, 1)),
        (4 << 20, 4, 1, (0, 4 << 20)),
        ((4 << 20) + 1, 4, 2, (4 << 20, (4 << 20) + 1)),
        (100 << 30, 64, 1600, ((100 << 30) - (64 << 20), 100 << 30)),
    ],
)
def test_a_file_in_blocks(size_bytes: int, block_mib: int, blocks: int, last: tuple[int, int]) -> None:
    layout = laid_out(size_bytes, "v1")
    assert (layout.block_bytes, layout.blocks) == (block_mib << 20, blocks)
    assert layout.span(layout.blocks - 1) == last


def test_a_map_tells_what_is_missing_after_a_kill() -> None:
    layout = Layout(25, '"tag"', 10)
    text = map_header(layout, SUM) + b"x.."
    assert read_map(text, SUM) == (layout, b"x..")
    assert missing(b"x..") == [1, 2]
    assert layout.missing_bytes(b"x..") == 15
    assert layout.missing_bytes(b"..x") == 20
    assert layout.missing_bytes(b"xxx") == 0


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\n",
        b"{}\nx..",
        b"[1]\nx..",
        map_header(Layout(25, "", 10), OTHER) + b"x..",
        map_header(Layout(25, "", 10), SUM) + b"x.",
        map_header(Layout(25, "", 10), SUM)[:-5],
        map_header(Layout(25, "", 0), SUM) + b"x..",
    ],
)
def test_a_map_that_is_torn_or_of_something_else_is_none(text: bytes) -> None:
    assert read_map(text, SUM) is None


def test_a_map_stays_small() -> None:
    layout = laid_out(4 << 40, "x" * 200)
    assert len(map_header(layout, SUM)) + layout.blocks < downloads.MAP_BYTES


@pytest.mark.parametrize(
    ("header", "total"), [("bytes 0-9/1000", 1000), ("bytes 0-9/*", None), ("", None), ("bytes */7", None)]
)
def test_the_total_of_an_answer(header: str, total: int | None) -> None:
    assert total_of(header) == total


def test_progress_is_told_every_sixteen_mebibytes_or_twentieth() -> None:
    progress = Progress(100 << 20, 0)
    told = [text for at in range(0, 101, 4) if (text := progress.text(at << 20))]
    assert told == [f"{at}.0 MiB of 100.0 MiB" for at in (16, 32, 48, 64, 80, 96)]
    long = Progress(100 << 30, 0)
    assert sum(bool(long.text(at << 20)) for at in range(0, 100 << 10, 16)) <= 20
