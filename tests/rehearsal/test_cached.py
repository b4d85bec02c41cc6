"""What every slow thing relies on: keys by content, locks between processes, children that end with us."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from cluster.problems import Failure
from rehearsal.cached import contents, digest, is_held, lock, need_free, run
from rehearsal.paths import REPO


def test_a_digest_is_of_names_and_contents_and_not_of_their_order() -> None:
    parts = [("a", b"1"), ("b", b"2")]
    assert digest(parts) == digest(reversed(parts))
    assert digest(parts) != digest([("a", b"12"), ("b", b"")])
    assert digest(parts) != digest([("a", b"2"), ("b", b"1")])


def test_a_file_that_becomes_executable_is_other_content(tmp_path: Path) -> None:
    script = tmp_path / "folder" / "script"
    script.parent.mkdir()
    script.write_text("true")
    script.chmod(0o644)
    before = digest(contents(tmp_path))
    script.chmod(0o755)
    assert digest(contents(tmp_path)) != before


def test_what_python_leaves_beside_the_sources_is_no_content(tmp_path: Path) -> None:
    before = digest(contents(tmp_path))
    (tmp_path / "__pycache__").mkdir()
    (tmp_path / "__pycache__" / "x.pyc").write_bytes(b"x")
    assert digest(contents(tmp_path)) == before


def test_a_lock_keeps_another_process_out_until_it_is_let_go(tmp_path: Path) -> None:
    path = tmp_path / "thing.lock"
    with lock(path):
        assert is_held(path)
    assert not is_held(path)


def test_a_child_holds_the_lock_of_a_set_up_that_was_killed(tmp_path: Path) -> None:
    path, pid_file = tmp_path / "thing.lock", tmp_path / "pid"
    with lock(path) as held:
        program = (
            f"from rehearsal.cached import run\nfrom pathlib import Path\n"
            f"run(['sh', '-c', 'echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file}; exec sleep 60'],"
            f" log=Path('{tmp_path}/log'), what='', remedy='', held=[{held}])"
        )
        parent = subprocess.Popen([sys.executable, "-c", program], cwd=REPO, pass_fds=[held])
        child = int(_text_of(pid_file))
        parent.kill()
        parent.wait()
    try:
        assert is_held(path)
    finally:
        os.kill(child, signal.SIGKILL)
    _until(lambda: not is_held(path))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_set_up_ends_what_it_started(tmp_path: Path, number: signal.Signals) -> None:
    pid_file = tmp_path / "pid"
    program = (
        # A suite started behind `&` has the shell's SIGINT ignored, and so would this child.
        "import signal\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from rehearsal.cached import command_line, run\nfrom pathlib import Path\n"
        f"command_line(lambda: run(['sh', '-c', 'echo $$ > {pid_file}.new; mv {pid_file}.new {pid_file};"
        f" exec sleep 60'], log=Path('{tmp_path}/log'), what='', remedy=''))"
    )
    parent = subprocess.Popen([sys.executable, "-c", program], cwd=REPO, stderr=subprocess.PIPE, text=True)
    child = int(_text_of(pid_file))
    parent.send_signal(number)
    _, said = parent.communicate(timeout=20)
    assert parent.returncode == 130
    assert "finished steps are kept" in said
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)


def test_a_failed_command_shows_its_code_its_last_lines_and_its_log(tmp_path: Path) -> None:
    log = tmp_path / "logs" / "work.log"
    command = ["sh", "-c", "seq 1 40; echo no space left >&2; exit 7"]
    with pytest.raises(Failure) as failure:
        run(command, log=log, what="building the boat", remedy="Buy wood.")
    text = str(failure.value)
    assert "building the boat failed: sh ended with exit code 7" in text
    assert "| no space left" in text
    assert "| 40" in text
    assert "| 10\n" not in text
    assert f"Buy wood. Log: {log}" in text


def test_a_disk_that_is_too_small_is_refused_with_both_sizes(tmp_path: Path) -> None:
    with pytest.raises(Failure, match=r"the boat needs 1000000 GiB in .* GiB are free") as failure:
        need_free(tmp_path, 1e6, "the boat")
    assert "DRYDOCK_CACHE" in failure.value.remedy


def _text_of(path: Path) -> str:
    _until(path.exists)
    return path.read_text()


def _until(condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)
