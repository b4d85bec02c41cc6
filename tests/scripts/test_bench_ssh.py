"""The SSH bench: its relay, its bars, what it prints, and that peers' forms do what the operations say."""

from __future__ import annotations

import asyncio
import getpass
import grp
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ansible_like.operations import Absent, Command, Directory, File, Link
from cluster.problems import BadInput
from rehearsal import audit, image
from rehearsal.paths import REPO
from scripts import bench_ssh
from scripts.ssh_bench import cgroup, fleet, plays, plot, relay, table
from scripts.ssh_bench.measure import Usage
from scripts.ssh_bench.peers import ALL
from scripts.ssh_bench.relay import DelayLine
from scripts.ssh_bench.results import MIB, Bar, Cell, Results, Row, bars, needed
from scripts.ssh_bench.workloads import TITLES, new_paths, workload

CELL = Cell("W2", 10, 0)


@given(st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=9))))
def test_a_delay_line_keeps_order_and_lets_nothing_out_early(chunks: list[tuple[float, bytes]]) -> None:
    line, now_s, out = DelayLine(0.5), 0.0, b""
    entered: list[tuple[float, bytes]] = []
    for gap_s, chunk in chunks:
        now_s += gap_s
        line.put(now_s, chunk)
        entered.append((now_s, chunk))
        out += line.take(now_s)
        assert out == b"".join(each for at_s, each in entered if at_s + 0.5 <= now_s)
    assert line.next_due_s is None or line.next_due_s > now_s
    assert out + line.take(now_s + 0.5) == b"".join(chunk for _, chunk in chunks)
    assert line.next_due_s is None


def test_a_delay_line_is_bounded_and_empties() -> None:
    line = DelayLine(1.0, capacity_bytes=4)
    line.put(0.0, b"123")
    assert not line.is_full
    line.put(0.0, b"4")
    assert line.is_full
    line.take(0.9)
    assert line.is_full
    line.take(1.0)
    assert not line.is_full


def test_the_relay_carries_both_ways_to_the_last_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    sent = os.urandom(3 << 20)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.read(-1))
        writer.write_eof()

    async def there_and_back() -> tuple[bytes, float]:
        host = await asyncio.start_server(echo, "127.0.0.1", 0)
        monkeypatch.setattr(relay, "SSH_PORT", host.sockets[0].getsockname()[1])
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        ways = asyncio.create_task(relay.serve([("127.0.0.1", port, "127.0.0.1")], 0.02))
        await asyncio.sleep(0)  # it listens before it first waits
        reader, writer = await _connected(port)
        begin = asyncio.get_running_loop().time()
        writer.write(sent)
        writer.write_eof()
        back = await reader.read(-1)
        took_s = asyncio.get_running_loop().time() - begin
        writer.close()
        ways.cancel()
        host.close()
        return back, took_s

    back, took_s = asyncio.run(there_and_back())
    assert back == sent
    assert took_s >= 0.02


async def _connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            await asyncio.sleep(0)


def row(*wall_s: float, cpu_s: float = 1.0, peak_bytes: int = 50 * MIB) -> Row:
    runs = [Usage(each, cpu_s, peak_bytes) for each in wall_s]
    return Row(list(runs), list(runs))


def test_a_bar_is_the_ratio_of_two_medians() -> None:
    bar = Bar(CELL, "second", "wall_s", "engine", "ansible", at_least=10)
    assert bar.value({CELL: {"engine": row(1, 9, 2), "ansible": row(30, 10, 20)}}) == 10
    assert bar.holds(10)
    assert not bar.holds(9.99)
    assert not Bar(CELL, "second", "wall_s", "ssh", "engine", at_most=1.25).holds(1.26)
    memory = Bar(CELL, "second", "peak_bytes", "engine", "", at_most=250 * MIB)
    assert memory.value({CELL: {"engine": row(1)}}) == 50 * MIB


def test_what_was_not_measured_or_failed_has_no_value() -> None:
    bar = Bar(CELL, "second", "wall_s", "engine", "ansible", at_least=10)
    assert bar.value({}) is None
    assert bar.value({CELL: {"engine": row(1)}}) is None
    failed = replace(row(30), failed="another mode")
    assert bar.value({CELL: {"engine": row(1), "ansible": failed}}) is None


def test_the_bars_need_every_workload_that_has_one() -> None:
    assert {cell.workload for cell in needed()} == {"W2", "W3", "W4", "W5"}
    assert needed()[Cell("W3", 100, 0)] == ("engine",)
    assert all((bar.at_least is None) != (bar.at_most is None) for bar in bars())


@pytest.fixture
def kept(tmp_path: Path) -> Path:
    """A results file with a missed bar, a held one, and a peer that failed."""
    rows = {
        "engine": row(1.0, 1.1, 1.2, 1.3, 1.4),
        "ssh": row(1.2, 1.2, 1.2, 1.2, 1.2),
        "ansible": row(6, 6, 6, 6, 6),
        "pyinfra": Row(failed="after its first pass node-000 is not as it should be: /x: 644 but 600"),
    }
    file = tmp_path / "results.json"
    Results({"machine": "2 cores", "date": "2026-11-25", "versions": {"pyinfra": "3"}}, {CELL: rows}).save(
        file
    )
    return file


def test_results_come_back_as_they_were_saved(kept: Path) -> None:
    results = Results.load(kept)
    results.save(kept)
    assert Results.load(kept) == results
    assert results.cells[CELL]["engine"].median("second", "wall_s") == 1.2


def test_results_that_are_not_there_are_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="measure"):
        Results.load(tmp_path / "none.json")


def test_an_unknown_option_is_a_text_and_not_a_traceback() -> None:
    command = [sys.executable, "-m", "scripts.bench_ssh", "measure", "--nonsense"]
    done = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--nonsense" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_table_tells_medians_misses_and_failures(kept: Path) -> None:
    text = table.markdown(Results.load(kept))
    assert "| 10 | 0 ms | ansible | 6.00 | 6.00 | 5.0 | 1.00 | 50 | 5 |" in text
    assert "| 10 | 0 ms | pyinfra | failed: after its first pass node-000" in text
    assert "time of engine / ssh ≤ 1.25 | 1.00 × | holds |" in text
    assert "time of ansible / engine ≥ 10 | 5.00 × | **missed** |" in text
    assert "time of pyinfra / engine ≥ 6 | | not measured |" in text


def test_a_missed_bar_is_a_failure(kept: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Exception, match=r"2 bars are missed"):  # Ansible's time and its CPU
        bench_ssh.show(kept)
    assert "**missed**" in capsys.readouterr().out


def test_the_plot_is_a_png_of_every_second_pass(kept: Path, tmp_path: Path) -> None:
    values = plot.chart(Results.load(kept))["data"]["values"]
    assert {(each["peer"], each["s"]) for each in values} == {("engine", 1.2), ("ssh", 1.2), ("ansible", 6.0)}
    plot.write(Results.load(kept), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_plan_is_what_was_asked_for() -> None:
    assert bench_ssh.planned([], 10, 0, []) == needed()
    assert bench_ssh.planned(["W1"], 3, 30, ["ssh", "engine"]) == {Cell("W1", 3, 30): ("engine", "ssh")}
    assert bench_ssh.planned(["W1"], 3, 0, []) == {Cell("W1", 3, 0): ALL}
    with pytest.raises(BadInput, match=r"W9") as refusal:
        bench_ssh.planned(["W9"], 3, 0, ["salt"])
    assert "--peer salt" in str(refusal.value)


@pytest.mark.parametrize("name", [name for name in TITLES if name != "W5"])
def test_every_workload_has_each_peers_form(name: str, tmp_path: Path) -> None:
    work = workload(name)
    plays.write(work, tmp_path / "play")
    (play,) = yaml.safe_load((tmp_path / "play" / "playbook.yml").read_text())
    assert len(play["tasks"]) >= (1 if work.is_tree else len(work.operations))
    script = tmp_path / "play" / "script.sh"
    assert subprocess.run(["sh", "-n", script], check=False).returncode == 0
    for task in play["tasks"]:
        source = task.get("ansible.builtin.copy", {}).get("src")
        assert source is None or Path(source).exists()


def test_a_tree_goes_as_one_directory_with_all_its_files(tmp_path: Path) -> None:
    work = workload("W4")
    plays.write(work, tmp_path / "play")
    files = [each for each in work.operations if isinstance(each, File)]
    assert len(files) == 500
    for each in files:
        assert (tmp_path / "play/tree" / Path(each.path).relative_to(work.tree)).read_bytes() == each.data


def test_the_bare_script_acts_only_where_something_differs(tmp_path: Path) -> None:
    me, mine, place = getpass.getuser(), grp.getgrgid(os.getgid()).gr_name, tmp_path / "root"
    operations = (
        Directory(f"{place}/d", 0o750, me, mine),
        File(f"{place}/d/file", "it's\ntwo lines\n", 0o640, me, mine),
        File(f"{place}/d/empty", "", 0o600, me, mine),
        Link(f"{place}/link", f"{place}/d/file"),
        Absent(f"{place}/gone"),
        Command("echo done"),
    )

    def run() -> list[int]:
        script = plays.script(operations)
        done = subprocess.run(["sh", "-s"], input=script, check=True, capture_output=True, text=True)
        assert done.stdout == "done\n"
        return [os.lstat(path).st_ctime_ns for path in (place / "d/file", place / "d/empty", place / "link")]

    first = run()
    assert (place / "link").read_text() == "it's\ntwo lines\n"
    assert (place / "d").stat().st_mode & 0o777 == 0o750
    assert run() == first
    (place / "gone").touch()
    (place / "d/file").chmod(0o644)
    assert run() != first
    assert not (place / "gone").exists()
    assert (place / "d/file").stat().st_mode & 0o777 == 0o640


def test_a_reset_takes_what_the_image_has_not(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    operations = (File("/etc/app/conf.d/one", ""), Directory("/etc"))
    assert new_paths(operations, tmp_path) == ["/etc/app", "/etc/app/conf.d", "/etc/app/conf.d/one"]


def test_the_tables_in_the_page() -> None:
    """`python -m scripts.bench_ssh table` prints what docs/measurements.md shows."""
    shown = table.markdown(Results.load(bench_ssh.RESULTS)).strip()
    assert shown in (REPO / "docs" / "measurements.md").read_text()


@pytest.fixture
def untouched_machine() -> Iterator[None]:
    if os.getuid() != 0 or not image.root().exists():
        pytest.skip("needs root and the image of a node (scripts/setup)")
    before = audit.machine()
    yield
    assert audit.left_over(before, audit.machine()) == {}
    assert cgroup.groups() == []


@pytest.mark.e2e
def test_two_hosts_are_booted_measured_and_gone(untouched_machine: None, tmp_path: Path) -> None:
    file = tmp_path / "results.json"
    bench_ssh.measure(["W2"], hosts=2, delay_ms=0, peer=["engine", "ssh"], repeats=1, out=file)
    rows = Results.load(file).cells[Cell("W2", 2, 0)]
    assert [rows[peer].failed for peer in ("engine", "ssh")] == ["", ""]
    assert all(len(row.first) == len(row.second) == 1 for row in rows.values())


@pytest.mark.e2e
def test_nothing_is_left_of_hosts_whose_bench_is_killed(untouched_machine: None) -> None:
    boots = "from scripts.ssh_bench import fleet\nwith fleet.booted(2): print('up', flush=True); input()"
    python = ["env", "PYTHONPATH=.", ".venv/bin/python", "-c", boots]
    bench = subprocess.Popen(fleet.enclosed(python), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert bench.stdout
    assert bench.stdout.readline() == "up\n"
    bench.kill()
    bench.stdout.read()  # ends when the last process of theirs has ended
    bench.wait()
    bench_ssh.sweep()
