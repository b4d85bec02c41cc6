"""Downloads from a real server with real faults, by an agent as a process of this machine."""

from __future__ import annotations

import hashlib
import os
import resource
import stat
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ansible_like.agent.downloads import LEAST_BLOCK_BYTES
from ansible_like.agent.values import GONE
from ansible_like.operations import Download
from ansible_like.result import BadPlay
from ansible_like.runner import apply
from tests.ansible_like.agents import OLDEST, Agent
from tests.ansible_like.conftest import Sshd, free_port
from tests.ansible_like.faulty_web import Web
from tests.ansible_like.test_agent import ME, MY_GROUP

MIB = 1 << 20
CONTENT = os.urandom(3 * LEAST_BLOCK_BYTES + 1000)
PART, MAP = ".a.ansible_like.part", ".a.ansible_like.map"


@pytest.fixture
def web() -> Iterator[Web]:
    with Web(CONTENT) as server:
        yield server


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "host").mkdir()
    return tmp_path / "host"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def own_download(web: Web, place: Path, **more: Any) -> Download:
    values = {"url": web.url, "sha256": hashlib.sha256(CONTENT).hexdigest(), "deadline_s": 60, **more}
    return Download(path=str(place / "a"), owner=ME, group=MY_GROUP, **values)


def converge(operation: Download, state: Path, **options: Any) -> dict[str, Any]:
    with Agent((operation,), state, **options) as agent:
        (result,) = agent.results()
    return result


def names(place: Path) -> list[str]:
    return sorted(path.name for path in place.iterdir())


@pytest.mark.parametrize("python", ["python3", OLDEST], ids=["this python", "python 3.8"])
def test_it_comes_once_in_parts_over_several_connections(
    web: Web, place: Path, state: Path, python: str | None
) -> None:
    if python is None:
        pytest.skip("no python 3.8 on this machine")
    all_there = threading.Barrier(4)
    web.faults.before_answer = lambda number: all_there.wait(30) if 1 <= number <= 4 else None
    operation = own_download(web, place, mode=0o640)

    checked = converge(operation, state, check=True, python=python)
    assert checked["status"] == "changed"
    assert (names(place), web.seen.requests) == ([], [])

    first = converge(operation, state, python=python)
    assert (first["status"], first["why"]) == ("changed", "new")
    assert (place / "a").read_bytes() == CONTENT
    assert stat.S_IMODE((place / "a").stat().st_mode) == 0o640
    assert web.seen.most_at_once == 4
    assert web.seen.total_bytes == len(CONTENT) + 1  # the byte that tells what the server can

    second = converge(operation, state, python=python)
    assert (second["status"], second["why"]) == ("ok", "content, mode and owner are as wanted")
    assert len(web.seen.requests) == 5
    assert names(place) == ["a"]


def test_one_connection_is_enough(web: Web, place: Path, state: Path) -> None:
    assert converge(own_download(web, place, connections=1), state)["status"] == "changed"
    assert web.seen.most_at_once == 1
    assert (place / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("tells_length", [True, False])
def test_a_server_without_ranges_gives_all_in_one(
    web: Web, place: Path, state: Path, tells_length: bool
) -> None:
    web.faults.has_ranges, web.faults.tells_length = False, tells_length
    assert converge(own_download(web, place), state)["status"] == "changed"
    assert (place / "a").read_bytes() == CONTENT
    assert len(web.seen.requests) == 1
    assert names(place) == ["a"]


def test_a_file_without_content(web: Web, place: Path, state: Path) -> None:
    web.faults.content = b""
    empty = own_download(web, place, sha256=hashlib.sha256(b"").hexdigest())
    assert converge(empty, state)["status"] == "changed"
    assert (place / "a").read_bytes() == b""
    assert names(place) == ["a"]


@pytest.mark.parametrize("has_ranges", [True, False])
def test_connections_that_break_off_are_made_again(
    web: Web, place: Path, state: Path, has_ranges: bool
) -> None:
    web.faults.has_ranges = has_ranges
    web.faults.drop_after_bytes = lambda number: 100_000 if number in (0, 2, 3) else None
    assert converge(own_download(web, place), state)["status"] == "changed"
    assert (place / "a").read_bytes() == CONTENT
    if has_ranges:  # what had come of a broken answer is not asked for again
        assert web.seen.total_bytes == len(CONTENT) + 1


def test_a_server_that_claims_more_than_it_gives(web: Web, place: Path, state: Path) -> None:
    web.faults.has_ranges, web.faults.claims_more_bytes = False, 10
    late = converge(own_download(web, place, deadline_s=1), state)
    assert late["stdout_tail"].startswith("not whole after 1 s: ")
    assert late["stdout_tail"].endswith("last seen: the connection ended early")
    assert names(place) == []
    web.faults.has_ranges = True  # of a part, what was asked for is all that is taken
    assert converge(own_download(web, place), state)["status"] == "changed"
    assert (place / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("status", [500, 503, 429])
def test_a_server_in_trouble_is_asked_again(web: Web, place: Path, state: Path, status: int) -> None:
    web.faults.status = lambda number: status if number in (0, 2) else 200
    assert converge(own_download(web, place), state)["status"] == "changed"
    assert (place / "a").read_bytes() == CONTENT


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_refusal_fails_at_once(web: Web, place: Path, state: Path, status: int) -> None:
    web.faults.status = lambda _: status
    url = web.url.replace("//", "//me:topsecret@") + "?sig=hidden99"
    result = converge(own_download(web, place, url=url), state)
    assert result["status"] == "failed"
    assert result["why"] == f"fetch {web.url}?…"
    assert result["stdout_tail"].startswith(f"HTTP status {status} ")
    assert len(web.seen.requests) == 1
    assert names(place) == []
    assert "topsecret" not in str(result)
    assert "hidden99" not in str(result)


def test_a_url_that_can_not_be_used_fails_at_once(web: Web, place: Path, state: Path) -> None:
    result = converge(own_download(web, place, url=web.url + " b"), state)
    assert "can't contain control characters" in result["stdout_tail"]
    assert names(place) == []


def test_user_and_password_go_to_that_server_alone(web: Web, place: Path, state: Path) -> None:
    with Web(CONTENT) as other:
        web.faults.redirect_to = other.url
        url = web.url.replace("//", "//me:pass%20word@")
        assert converge(own_download(web, place, url=url), state)["status"] == "changed"
        assert {authorization for _, _, authorization in other.seen.requests} == {None}
    assert {authorization for _, _, authorization in web.seen.requests} == {"Basic bWU6cGFzcyB3b3Jk"}


def test_nobody_there_is_waited_out_until_the_deadline(web: Web, place: Path, state: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}/file"
    result = converge(own_download(web, place, url=url, deadline_s=1), state)
    assert result["stdout_tail"] == "not whole after 1 s: 0 bytes had come; last seen: Connection refused"
    assert names(place) == []


def test_content_with_another_digest_is_removed_and_both_are_told(web: Web, place: Path, state: Path) -> None:
    result = converge(own_download(web, place, sha256="0" * 64), state)
    came = hashlib.sha256(CONTENT).hexdigest()
    assert result["stdout_tail"] == f"what came has the sha256 {came}, not {'0' * 64}: it was removed"
    assert names(place) == []


def killed_after_two_blocks(web: Web, place: Path, state: Path) -> None:
    """An agent that is killed when two of four blocks are whole and two have begun."""
    never = threading.Event()
    web.faults.hold = lambda number: never if number >= 3 else None
    with Agent((own_download(web, place),), state) as agent:
        agent.until(status="started")
        while (place / MAP).exists() is False or (place / MAP).read_bytes().count(b"x") < 2:
            assert agent.process.poll() is None
            threading.Event().wait(0.02)
        agent.process.kill()
        agent.process.wait()
    web.faults.hold = lambda _: None
    never.set()
    while web.seen.at_once:  # what goes to the dead agent still counts as served
        threading.Event().wait(0.02)
    assert names(place) == [MAP, PART]


def test_after_a_kill_no_block_that_was_whole_is_fetched_again(web: Web, place: Path, state: Path) -> None:
    killed_after_two_blocks(web, place, state)
    marks = (place / MAP).read_bytes().partition(b"\n")[2]
    whole = [block for block in range(4) if marks[block : block + 1] == b"x"]
    web.seen.requests.clear()
    web.seen.total_bytes = 0
    assert converge(own_download(web, place), state)["status"] == "changed"
    assert (place / "a").read_bytes() == CONTENT
    spans = [(n * LEAST_BLOCK_BYTES, min((n + 1) * LEAST_BLOCK_BYTES, len(CONTENT))) for n in range(4)]
    asked = {f"bytes={b}-{e - 1}" for n, (b, e) in enumerate(spans) if n not in whole}
    assert {span for _, span, _ in web.seen.requests[1:]} == asked
    assert web.seen.total_bytes == 1 + sum(e - b for n, (b, e) in enumerate(spans) if n not in whole)
    assert names(place) == ["a"]


@pytest.mark.parametrize("change", ["version", "length", "no ranges", "torn map", "torn part"])
def test_what_does_not_fit_any_more_is_fetched_anew(web: Web, place: Path, state: Path, change: str) -> None:
    killed_after_two_blocks(web, place, state)
    # were what is there believed, the digest would be wrong
    with (place / PART).open("r+b") as part:
        part.write(b"other")
    content = CONTENT
    match change:
        case "version":
            web.faults.version = '"v2"'
        case "length":
            content = web.faults.content = CONTENT + b"more"
        case "no ranges":
            web.faults.has_ranges = False
        case "torn map":
            (place / MAP).write_bytes((place / MAP).read_bytes()[:-1])
        case "torn part":
            os.truncate(place / PART, MIB)
    wanted = hashlib.sha256(content).hexdigest()
    if change == "length":  # the map is of another digest too
        text = (
            (place / MAP).read_bytes().replace(hashlib.sha256(CONTENT).hexdigest().encode(), wanted.encode())
        )
        (place / MAP).write_bytes(text)
    assert converge(own_download(web, place, sha256=wanted), state)["status"] == "changed"
    assert (place / "a").read_bytes() == content
    assert names(place) == ["a"]


def test_content_that_changes_on_the_way_is_fetched_anew(web: Web, place: Path, state: Path) -> None:
    new = os.urandom(len(CONTENT))

    def change(number: int) -> None:
        if number == 3:
            web.faults.content, web.faults.version = new, '"v2"'

    web.faults.before_answer = change
    operation = own_download(web, place, sha256=hashlib.sha256(new).hexdigest())
    assert converge(operation, state)["status"] == "changed"
    assert (place / "a").read_bytes() == new


def test_content_that_never_stays_the_same_fails_at_the_deadline(web: Web, place: Path, state: Path) -> None:
    def change(number: int) -> None:
        web.faults.version = f'"{number}"'

    web.faults.before_answer = change
    result = converge(own_download(web, place, deadline_s=1), state)
    assert result["status"] == "failed"
    assert "1 s" in result["stdout_tail"]


def test_all_was_there_when_it_was_killed_so_nobody_is_asked(web: Web, place: Path, state: Path) -> None:
    killed_after_two_blocks(web, place, state)
    text = (place / MAP).read_bytes()
    (place / MAP).write_bytes(text.partition(b"\n")[0] + b"\nxxxx")
    (place / PART).write_bytes(CONTENT)
    web.seen.requests.clear()
    assert converge(own_download(web, place), state)["status"] == "changed"
    assert web.seen.requests == []
    assert names(place) == ["a"]


@pytest.mark.parametrize("has_ranges", [True, False])
def test_a_full_disk_fails_clearly_and_is_given_back(
    web: Web, place: Path, state: Path, has_ranges: bool
) -> None:
    """A limit on a file's size stands in for the disk."""
    web.faults.has_ranges = has_ranges
    go_on = threading.Event()
    web.faults.before_answer = lambda _: go_on.wait()
    with Agent((own_download(web, place),), state) as agent:
        agent.until(status="started")
        resource.prlimit(agent.process.pid, resource.RLIMIT_FSIZE, (5 * MIB, 5 * MIB))
        go_on.set()
        (result,) = agent.results()
    assert result["stdout_tail"] == (
        "File too large: what had arrived was removed, so that there is room again"
    )
    assert names(place) == []


def test_when_the_controller_goes_it_ends_and_keeps_what_came(web: Web, place: Path, state: Path) -> None:
    never = threading.Event()
    web.faults.hold = lambda number: never if number >= 2 else None
    with Agent((own_download(web, place),), state) as agent:
        agent.until(status="started")
        while not web.seen.at_once:
            assert agent.process.poll() is None
            threading.Event().wait(0.02)
        agent.hang_up()
        assert agent.process.wait(timeout=30) == GONE
    never.set()
    web.faults.hold = lambda _: None
    assert converge(own_download(web, place), state)["status"] == "changed"


def test_progress_is_told(place: Path, state: Path) -> None:
    content = bytes(40 * MIB)
    with Web(content) as web:
        web.faults.drop_after_bytes = lambda number: MIB if number else None
        operation = own_download(web, place, sha256=hashlib.sha256(content).hexdigest())
        with Agent((operation,), state) as agent:
            assert agent.process.stdout
            said = agent.process.stdout.read().decode()
    assert " of 40.0 MiB" in said
    assert '"changed"' in said


def test_a_proxy_is_taken_from_the_environment(web: Web, place: Path, state: Path) -> None:
    operation = own_download(web, place, url="http://no.such.host.invalid/file")
    environment = {"http_proxy": web.url.removesuffix("/file"), "no_proxy": ""}
    assert converge(operation, state, environment=environment)["status"] == "changed"
    assert {path for path, _, _ in web.seen.requests} == {"http://no.such.host.invalid/file"}


def test_a_certificate_that_is_not_trusted_fails_at_once(place: Path, state: Path, tmp_path: Path) -> None:
    certificate = tmp_path / "certificate"
    make = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    make += ["-subj", "/CN=here", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"]
    make += ["-keyout", str(certificate), "-out", str(tmp_path / "public")]
    subprocess.run(make, check=True, capture_output=True)
    with certificate.open("a") as file:
        file.write((tmp_path / "public").read_text())
    with Web(CONTENT, certificate) as web:
        result = converge(own_download(web, place), state)
        assert "CERTIFICATE_VERIFY_FAILED" in result["stdout_tail"]
        assert names(place) == []
        trusting = {"SSL_CERT_FILE": str(tmp_path / "public")}
        assert converge(own_download(web, place), state, environment=trusting)["status"] == "changed"


def test_over_ssh(web: Web, place: Path, state: Path, sshd: Sshd) -> None:
    result = apply({sshd.target(): (own_download(web, place),)}, state_directory=str(state))["node-0"]
    assert result.error is None
    assert (place / "a").read_bytes() == CONTENT


def test_what_cannot_be_fetched_is_told_before_anything_is_sent(sshd: Sshd) -> None:
    operations = (
        Download("ftp://h/a", "/a", "0" * 64),
        Download("http://h/b", "/b", "0" * 63 + "G"),
        Download("https://h/c", "/c", "0" * 64, connections=0),
    )
    with pytest.raises(BadPlay) as refusal:
        apply({sshd.target(port=free_port()): operations})
    told = [line.strip() for line in str(refusal.value).splitlines()]
    assert told[1:-1:2] == [
        "download /a: url can't be used (on node-0)",
        f"download /b: sha256 '{'0' * 63}G' can't be used (on node-0)",
        "download /c: connections 0 can't be used (on node-0)",
    ]
