"""`drydock apply` as a process, over a real sshd: what it prints, what it does, and its exit codes."""

from __future__ import annotations

import fcntl
import getpass
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ansible_like.play import Rollout
from cluster.problems import BadInput
from rehearsal import paths
from scripts.apply_input import compiled, with_sudo_password
from tests.ansible_like.conftest import Sshd, free_port

PLAY = """\
import getpass
import grp
import os
from dataclasses import dataclass

from ansible_like.operations import Command, File
from ansible_like.play import Host, Play, Role

print("read")
OWNER, GROUP = getpass.getuser(), grp.getgrgid(os.getgid()).gr_name


@dataclass(frozen=True)
class Variables:
    folder: str
    script: str = ""


def files(host):
    return [File(host.variables.folder + "/" + host.name, "up\\n", owner=OWNER, group=GROUP)]


def scripts(host):
    return [Command(host.variables.script, progress=True, name="own")] if host.variables.script else []


play = Play(
    "site", Variables, [Role("files", files), Role("scripts", scripts, tags=("scripts",))], serial=(1,)
)
"""
ENDLESS = "echo PROGRESS sleeps; exec sleep 1000"

Run = Callable[..., subprocess.CompletedProcess[str]]


class Site:
    """A play and an inventory in a folder, and the command line that applies them."""

    def __init__(self, sshd: Sshd, folder: Path) -> None:
        self.folder = folder
        self._sshd = sshd
        (folder / "made").mkdir()
        (folder / "site.py").write_text(PLAY)
        (folder / "key").write_text(sshd.private_key)
        (folder / "key").chmod(0o600)
        (folder / "known").write_text(f"[127.0.0.1]:{sshd.port} {sshd.host_key}\n")

    def write(self, **hosts: dict[str, Any]) -> None:
        """The inventory: hosts with the changes to their settings."""
        made = {"folder": str(self.folder / "made")}
        raw = {
            "knownHostsFile": "known",
            "defaults": {
                **{"user": getpass.getuser(), "privateKeyFile": "key", "port": self._sshd.port},
                **{"sudo": False, "variables": made},
            },
            "hosts": {name: {"address": "127.0.0.1", **changes} for name, changes in hosts.items()},
        }
        (self.folder / "hosts.yaml").write_text(yaml.safe_dump(raw, sort_keys=False))

    def argv(self, *options: str) -> list[str]:
        site = [str(self.folder / "site.py"), "--hosts", str(self.folder / "hosts.yaml")]
        state = ["--state-directory", str(self.folder / "state")]
        return [sys.executable, "-m", "scripts.drydock", "apply", *site, *state, *options]

    def apply(self, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.argv(*options),
            cwd=paths.REPO,
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            check=False,
        )

    def compiled(self, tags: tuple[str, ...] = (), limit: tuple[str, ...] = ()) -> Rollout:
        return compiled(str(self.folder / "site.py"), self.folder / "hosts.yaml", None, tags, limit)

    def made(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "made").iterdir())


@pytest.fixture
def site(sshd: Sshd, tmp_path: Path) -> Site:
    return Site(sshd, tmp_path)


def lines(text: str) -> list[str]:
    """Without the times."""
    return [line for line in text.splitlines() if "done in" not in line]


def test_a_check_then_a_run_then_nothing_to_do(site: Site) -> None:
    site.write(a={}, b={})
    checked = site.apply("--check", "--diff")
    assert checked.returncode == 0, checked.stderr
    path = site.folder / "made/a"
    assert lines(checked.stdout)[:6] == [
        "site (check, nothing is changed): batch 1 of 2: a",
        f"a: [1/1] file {path}: would change: new",
        "a:   --- /dev/null",
        f"a:   +++ {path}",
        "a:   @@ -0,0 +1 @@",
        "a:   +up",
    ]
    assert lines(checked.stdout)[-3:] == [
        "a: 1 would change",
        "b: 1 would change",
        "site, 2 hosts: 2 would change",
    ]
    assert site.made() == []

    first = site.apply()
    assert (first.returncode, site.made()) == (0, ["a", "b"])
    assert "+up" not in first.stdout
    assert lines(first.stdout)[-1] == "site, 2 hosts: 2 changed"

    second = site.apply(FORCE_COLOR="1")
    assert second.returncode == 0
    assert lines(second.stdout) == [
        "site: batch 1 of 2: a",
        "site: batch 2 of 2: b",
        "a: 1 ok",
        "b: 1 ok",
        "site, 2 hosts: 2 ok",
    ]


def test_what_the_play_prints_is_not_in_the_output(site: Site) -> None:
    site.write(a={})
    done = site.apply("--json")
    assert done.stderr == "read\n"
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(each["type"], each.get("status")) for each in said] == [
        ("event", "started"),
        ("event", "changed"),
        ("host", None),
        ("summary", None),
    ]
    assert (said[-1]["exit_code"], said[-1]["hosts"][0]["changed"]) == (0, 1)


def test_a_host_that_fails_is_told_in_full_and_ends_the_roll_out(site: Site) -> None:
    script = r"printf 'E: \033[31mno space\033[0m\r\n' >&2; exit 7"
    site.write(a={}, b={"variables": {"script": script}}, c={})
    done = site.apply()
    assert done.returncode == 1
    assert "\x1b" not in done.stdout
    assert lines(done.stdout)[-8:] == [
        "a: 1 changed",
        "b: failed: 1 changed, 1 failed",
        "c: not tried",
        f"b: step 2 of 2, command own, failed: /bin/sh -c {script} (exit code 7)",
        "b:       E: no space",
        "b:     → mend the cause and run again: what is done already is left as it is",
        "site, 3 hosts: 1 changed, 1 failed, 1 not tried",
        "more hosts failed than the play allows (max_failures), so no further batch was started",
    ]
    assert site.made() == ["a", "b"]


def test_letters_that_the_output_cannot_have_end_nothing(site: Site) -> None:
    site.write(a={"variables": {"script": "echo no späce >&2; exit 7"}})
    done = site.apply(PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stderr) == (1, "read\n")
    assert "a:       no sp?ce\na:     ? mend the cause" in done.stdout


def test_a_host_that_cannot_be_reached_and_one_that_is_another(site: Site) -> None:
    (site.folder / "site.py").write_text(PLAY.replace("serial=(1,)", "max_failures=1"))
    port = free_port()
    other = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIEscg5lLLbn0nFfeyzjVrKTxhV48DpxZfW7+gLnKSWU"
    site.write(gone={"port": port, "hostKeys": [other]}, other={"hostKeys": [other]}, well={})
    done = site.apply("--connect-deadline-s", "1")
    assert done.returncode == 1
    assert f"gone: SSH at 127.0.0.1:{port} did not answer within 1 s" in done.stdout
    assert "other: 127.0.0.1:" in done.stdout
    assert "is not the host that was expected" in done.stdout
    assert lines(done.stdout)[-1] == "site, 3 hosts: 1 changed, 2 failed"
    assert site.made() == ["well"]


def test_everything_that_is_wrong_is_told_before_anything_is_sent(site: Site, sshd: Sshd) -> None:
    site.write(a={"prot": 22}, b={"variables": {"folder": 1}}, c={})
    (site.folder / "site.py").write_text(PLAY.replace("serial=(1,)", "serial=(0,)"))
    connections = sshd.log.count("Connection from")
    done = site.apply("--tags", "script")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Traceback" not in done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("  ") and "→" not in line]
    assert [line.split(": ")[0].strip() for line in told] == [
        "hosts.a.prot",
        "hosts.b.variables.folder",
        "serial",
        "--tags",
    ]
    assert sshd.log.count("Connection from") == connections
    assert site.made() == []


def test_limits_and_tags_choose(site: Site) -> None:
    site.write(**{"web-0": {}, "web-1": {"variables": {"script": "true"}}, "db-0": {}})
    assert [target.name for batch in site.compiled(limit=("web-*",)).batches for target in batch] == [
        "web-0",
        "web-1",
    ]
    titles = [
        [operation.title for operation in operations]
        for batch in site.compiled(tags=("scripts",)).batches
        for operations in batch.values()
    ]
    assert titles == [[], ["command own"], []]
    done = site.apply("--limit", "db-*", "--limit", "web-1", "--tags", "scripts", "--check")
    assert [line.split(":")[0] for line in lines(done.stdout)[-3:]] == ["web-1", "db-0", "site, 2 hosts"]
    assert site.apply("--limit", "web-2").returncode == 2


def test_what_a_role_raises_is_a_problem_at_its_line(site: Site) -> None:
    site.write(a={}, b={})
    path = site.folder / "site.py"
    path.write_text(PLAY.replace("def files(host):", "def files(host):\n    1 / 0"))
    with pytest.raises(BadInput) as refused:
        site.compiled()
    (problem,) = refused.value.problems
    line = PLAY.partition("def files")[0].count("\n") + 2
    assert problem.path == "role files"
    assert problem.what == f"ZeroDivisionError: division by zero ({path}:{line}) (on a and 1 more)"


def test_variables_of_a_type_that_cannot_be_read(site: Site) -> None:
    site.write(a={})
    path = site.folder / "site.py"
    path.write_text(
        PLAY.replace("folder: str\n", "folder: NoSuchType\n").replace(
            "import getpass", "from __future__ import annotations\nimport getpass", 1
        )
    )
    with pytest.raises(BadInput) as refused:
        site.compiled()
    assert [problem.path for problem in refused.value.problems] == ["play site: variables"]


def test_hosts_come_from_one_place(site: Site) -> None:
    site.write(a={})
    both = site.apply("--stack", "prod")
    assert both.returncode == 2
    assert "--stack: stands beside --hosts" in both.stderr
    with pytest.raises(BadInput, match="--hosts: is missing"):
        compiled(str(site.folder / "site.py"), None, None, (), ())


class TestStack:
    @pytest.fixture
    def pulumi(self, site: Site, sshd: Sshd, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
        """A stand-in for the CLI: it prints the outputs of a stack `dev`, and knows no other."""
        node = {
            **{"name": "node-0", "rank": 0, "instanceId": "i-0", "address": "127.0.0.1"},
            **{"user": "ubuntu", "hostKeys": [sshd.host_key]},
        }
        outputs = {"inventory": [node], "sshPrivateKey": sshd.private_key}
        (site.folder / "outputs.json").write_text(json.dumps(outputs))
        (site.folder / "bin").mkdir()
        script = site.folder / "bin/pulumi"
        script.write_text(
            '#!/bin/sh\n[ "$*" = "stack output --json --show-secrets --stack dev" ] || '
            f"{{ echo no such stack >&2; exit 1; }}\ncat {site.folder}/outputs.json\n"
        )
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{script.parent}:{os.environ['PATH']}")
        yield site.folder / "outputs.json"

    def of_stack(self, site: Site, stack: str) -> Rollout:
        return compiled(str(site.folder / "site.py"), None, stack, (), ())

    def test_its_nodes_are_the_hosts(self, site: Site, sshd: Sshd, pulumi: Path) -> None:
        path = site.folder / "site.py"
        path.write_text(PLAY.replace("folder: str", 'folder: str = "/srv"'))
        ((batch),) = self.of_stack(site, "dev").batches
        (target,) = batch
        assert (target.name, target.address, target.user) == ("node-0", "127.0.0.1", "ubuntu")
        assert (target.host_keys, target.private_key) == ((sshd.host_key,), sshd.private_key)

    def test_it_has_no_variables(self, site: Site, pulumi: Path) -> None:
        with pytest.raises(BadInput, match="the nodes of a stack have no variables: folder"):
            self.of_stack(site, "dev")

    def test_it_may_have_no_node(self, site: Site, pulumi: Path) -> None:
        pulumi.write_text('{"sshPrivateKey": "x"}')
        with pytest.raises(BadInput, match="dev has no node"):
            self.of_stack(site, "dev")

    @pytest.mark.parametrize("outputs", ["{}", '{"sshPrivateKey": "x", "inventory": [{"name": "a"}]}'])
    def test_it_may_be_of_another_program(self, site: Site, pulumi: Path, outputs: str) -> None:
        pulumi.write_text(outputs)
        with pytest.raises(BadInput, match="dev is no stack of Drydock's"):
            self.of_stack(site, "dev")

    def test_it_may_not_be_there(self, site: Site, pulumi: Path) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "scripts.drydock", "apply", site.folder / "site.py", "--stack", "none"],
            cwd=paths.REPO,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode, done.stdout) == (1, "")
        assert "no such stack" in done.stderr


def take_ctrl_c() -> None:
    """From a signal, and from the terminal that stdin may be."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if os.isatty(0):
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@pytest.fixture
def started(site: Site) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """The command as a process of its own, which takes Ctrl-C though a suite behind `&` does not."""
    running: list[subprocess.Popen[str]] = []

    def start(*options: str, **streams: Any) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            site.argv(*options),
            **{
                "cwd": paths.REPO,
                "text": True,
                "stdout": subprocess.PIPE,
                "stderr": subprocess.PIPE,
                **streams,
            },
            preexec_fn=take_ctrl_c,  # noqa: PLW1509 - no thread runs here yet
        )
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.communicate()


def test_ctrl_c_ends_the_hosts_and_says_how_far_each_came(
    site: Site, started: Callable[..., subprocess.Popen[str]]
) -> None:
    site.write(a={}, b={"variables": {"script": ENDLESS}}, c={})
    process = started("--json")
    assert process.stdout
    said = []
    for line in process.stdout:
        said.append(json.loads(line))
        if said[-1].get("status") == "progress":
            break
    process.send_signal(signal.SIGINT)
    said.append(json.loads(process.stdout.readline()))
    assert (said[-1]["host"], said[-1]["outcome"]) == ("b", "interrupted")
    process.send_signal(signal.SIGINT)  # while the first one is still at work
    # not communicate(): it would miss what came along with the line before
    assert process.stderr
    rest, errors = process.stdout.read(), process.stderr.read()
    assert (process.wait(), errors) == (130, "read\n")
    summary = json.loads(rest.splitlines()[-1])
    assert [(host["host"], host["outcome"]) for host in summary["hosts"]] == [
        ("a", "changed"),
        ("b", "interrupted"),
    ]
    assert (summary["not_tried"], summary["interrupted"], summary["exit_code"]) == (["c"], True, 130)
    assert "step 2 of 2, command own, was running" in summary["hosts"][1]["error"]["what"]

    site.write(a={}, b={}, c={})
    again = site.apply()
    assert lines(again.stdout)[-1] == "site, 3 hosts: 2 ok, 1 changed"


def test_a_reader_that_goes_away_ends_the_hosts_with_a_text(
    site: Site, started: Callable[..., subprocess.Popen[str]]
) -> None:
    script = f"echo PROGRESS up; while [ ! -e {site.folder}/go ]; do sleep 0.05; done"
    site.write(a={"variables": {"script": script}}, b={})
    process = started("--json")
    assert process.stdout
    assert process.stderr
    while json.loads(process.stdout.readline()).get("status") != "progress":
        pass
    process.stdout.close()
    (site.folder / "go").touch()
    assert process.stderr.read().splitlines()[1:] == [
        "drydock: nobody reads the output any more, and the runs were ended",
        "    → run it again: it goes on where it stopped",
    ]
    assert process.wait() == 1
    assert site.made() == ["a"]


def test_a_terminal_sees_the_table_and_ctrl_c_as_from_the_keyboard(
    site: Site, started: Callable[..., subprocess.Popen[str]]
) -> None:
    site.write(a={"variables": {"script": ENDLESS}})
    controller, terminal = pty.openpty()
    try:
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "80", "LINES": "24"}
        streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
        before = termios.tcgetattr(controller)
        process = started(**streams, env=environment, start_new_session=True)
        shown = read_until(controller, b"sleeps")
        os.write(controller, b"\x03\x03")
        shown += read_until(controller, b"where it stopped")
        assert process.wait() == 130
        assert termios.tcgetattr(controller) == before
        os.close(terminal)
    finally:
        os.close(controller)
    text = shown.decode()
    assert "\x1b[?25l" in text  # the cursor is hidden, and comes back
    assert text.rindex("\x1b[?25h") > text.rindex("\x1b[?25l")
    assert "running" in text
    assert "the run was ended when step 2 of 2, command own, was running" in text
    assert "interrupted; run it again: it goes on where it stopped" in text
    assert "Traceback" not in text
    assert "^C" not in text


def test_sudo_s_password_is_asked_for_once_and_shown_nowhere(
    site: Site, started: Callable[..., subprocess.Popen[str]]
) -> None:
    site.write(a={}, b={})
    controller, terminal = pty.openpty()
    try:
        streams = {"stdin": terminal, "stdout": terminal, "stderr": terminal}
        process = started("--ask-sudo-password", **streams, start_new_session=True)
        shown = read_until(controller, b"sudo password: ")
        os.write(controller, b"topsecret99\n")
        os.close(terminal)
        shown += read_until(controller, b"2 hosts: 1 ok, 1 changed")
        assert process.wait() == 0
    finally:
        os.close(controller)
    assert shown.count(b"sudo password") == 1
    assert b"topsecret99" not in shown

    targets = [target for batch in with_sudo_password(site.compiled(), "secret").batches for target in batch]
    assert [target.sudo_password for target in targets] == ["secret"] * 2


def read_until(descriptor: int, word: bytes) -> bytes:
    """What comes up to that word, or to the end."""
    shown = b""
    while word not in shown:
        try:
            chunk = os.read(descriptor, 65536)
        except OSError:  # the terminal's other side is closed
            chunk = b""
        if not chunk:
            break
        shown += chunk
    return shown
