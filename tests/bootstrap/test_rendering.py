"""What is written for systemd is what systemd gives to the program."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ansible_like.play import PlayRefused
from bootstrap.rendering import TEMPLATES, environment_value, render, systemd_words

AWKWARD = [
    "plain",
    "",
    "two words",
    'a "quoted" word',
    "100%n",
    "$HOME and ${HOME}",
    "back\\slash",
    "it's",
    ";",
]
JSON = '{"level": 3, "sizes": [1, 2]}'


def test_a_missing_value_is_an_error() -> None:
    with pytest.raises(PlayRefused, match="cluster_cidr"):
        render("/etc/nftables.d/drydock.nft", ssh_port=22, api_port=8000)


def test_plain_arguments_stay_readable() -> None:
    assert (
        systemd_words(["/opt/vllm/bin/vllm", "serve", "--port", "8000"])
        == "/opt/vllm/bin/vllm serve --port 8000"
    )


def test_specifiers_variables_and_quotes_are_literal() -> None:
    assert systemd_words(["100%n", "$HOME", JSON]) == r'"100%%n" "$$HOME" "{\"level\": 3, \"sizes\": [1, 2]}"'


@pytest.mark.skipif(not Path("/run/systemd/system").exists(), reason="systemd does not run here")
def test_systemd_gives_each_argument_as_it_was(tmp_path: Path) -> None:
    unit = Path("/run/systemd/system/drydock-test-words.service")
    out = tmp_path / "out"
    argv = ["/bin/sh", "-c", f'printf "%%s\\\\0" "$@" > {out}', "sh", *AWKWARD, JSON]
    unit.write_text(f"[Service]\nType=oneshot\nExecStart={systemd_words(argv)}\n")
    try:
        subprocess.run(["systemctl", "start", unit.name], check=True)
    finally:
        unit.unlink()
    assert out.read_text().split("\0")[:-1] == [*AWKWARD, JSON]


@pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze here")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path: Path) -> None:
    golden = Path(__file__).parents[1] / "golden" / "nodes"
    for unit in golden.rglob("*.service"):
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, check=False
        )
        lines = [line for line in done.stderr.splitlines() if unit.name in line]
        # The programs are on the nodes, not here.
        assert [line for line in lines if "is not executable" not in line] == [], unit


def test_environment_values_are_quoted() -> None:
    assert environment_value('a"b\\c$d`e') == r'"a\"b\\c\$d\`e"'


@pytest.mark.parametrize(
    "tool", sorted((TEMPLATES / "opt/drydock/bin").iterdir()), ids=lambda path: path.name
)
def test_every_tool_is_executable_and_parses(tool: Path) -> None:
    text = tool.read_text()
    assert tool.stat().st_mode & 0o111
    if "python" in text.splitlines()[0]:
        compile(text, str(tool), "exec")
    else:
        subprocess.run(["sh", "-n", str(tool)], check=True)
