"""Where the Pulumi CLI comes from: PATH, the official installer, our own build; each with real processes."""

from pathlib import Path

import pytest

from cluster.problems import Failure
from rehearsal import toolchain

NOWHERE = "http://127.0.0.1:9"


@pytest.fixture(autouse=True)
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, a PATH without Pulumi and Go, and an installer that cannot be reached."""
    monkeypatch.setattr(toolchain, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(toolchain, "TOOLS", tmp_path / "cache" / "tools")
    monkeypatch.setattr(toolchain, "BUILD_NEEDS_GIB", 0.0)
    monkeypatch.setattr(toolchain, "INSTALLER", NOWHERE)
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    return tmp_path / "cache" / "tools"


def program(path: Path, text: str) -> Path:
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        ("v3.259.0\n", True),
        ("v3.260.1\n", True),
        ("v4.0.0\n", True),
        ("v3.1000.0-alpha.1\n", True),
        ("v3.258.9\n", False),
        ("v3.96.1\n", False),
        ("", False),
        ("command not found", False),
    ],
)
def test_versions_are_compared_as_numbers(output: str, expected: bool) -> None:
    assert toolchain.is_new_enough(output) is expected


def test_go_says_its_version_in_its_own_way() -> None:
    assert toolchain.parsed("go1.26.8") == (1, 26, 8)
    assert toolchain.parsed("go1.19") < toolchain.parsed(toolchain.OLDEST_GO) < toolchain.parsed("go1.26.8")


def test_the_key_follows_the_modules_and_the_flags(tmp_path: Path) -> None:
    (tmp_path / "go.mod").write_text("module x")
    (tmp_path / "go.sum").write_text("a")
    keys = [toolchain.key(tmp_path)]
    (tmp_path / "go.sum").write_text("b")
    keys += [toolchain.key(tmp_path), toolchain.key(tmp_path, ("-race",))]
    assert len(set(keys)) == len(keys)


def test_a_new_enough_pulumi_on_path_is_taken(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "pulumi", "echo v3.300.0")
    assert toolchain.ensure() == tmp_path / "bin"


def test_an_old_pulumi_on_path_is_left_alone(tmp_path: Path) -> None:
    program(tmp_path / "bin" / "pulumi", "echo v3.100.0")
    with pytest.raises(Failure, match=r"Run scripts/setup"):
        toolchain.pulumi_directory()


def test_the_official_installer_gets_our_version_and_leaves_the_shells_files_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installer = program(
        tmp_path / "install.sh",
        '[ "$1 $2 $3 $5" = "--version 3.259.0 --install-root --no-edit-path" ] || exit 3\n'
        'mkdir -p "$4/bin" && touch "$4/bin/pulumi" "$4/bin/pulumi-language-python"',
    )
    monkeypatch.setattr(toolchain, "INSTALLER", f"file://{installer}")
    directory = toolchain.ensure()
    assert {path.name for path in directory.iterdir()} == {"pulumi", "pulumi-language-python"}
    assert toolchain.pulumi_directory() == directory


def test_without_the_installer_the_cli_is_built_once(
    tmp_path: Path, tools: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    count = tmp_path / "builds"
    program(
        tmp_path / "bin" / "go",
        f'[ "$1" = env ] && {{ echo go1.25.1; exit; }}\necho build >> {count}\n'
        'while [ "$1" != -o ]; do shift; done; touch "$2"',
    )
    directory = toolchain.ensure()
    assert directory == tools / f"pulumi-{toolchain.key()}"
    assert toolchain.ensure() == directory
    assert count.read_text() == "build\n"
    assert "Pulumi's own installer cannot be had" in capfd.readouterr().err
    assert {path.name for path in tools.iterdir()} == {directory.name, "pulumi.lock"}


def test_a_failed_build_shows_its_end_and_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    go = tmp_path / "bin" / "go"
    program(go, '[ "$1" = env ] && { echo go1.25.1; exit; }\necho proxy.golang.org: timed out; exit 1')
    with pytest.raises(Failure, match=r"(?s)building the Pulumi CLI failed.*proxy\.golang\.org: timed out"):
        toolchain.ensure()
    with pytest.raises(Failure, match="there is no Pulumi CLI"):
        toolchain.pulumi_directory()


def test_a_go_that_is_too_old_is_named_with_the_way_out(tmp_path: Path) -> None:
    go = program(tmp_path / "bin" / "go", "echo go1.19.8")
    with pytest.raises(Failure, match=rf"{go} is go1\.19\.8, too old .*\n.*Install Go 1\.21 or newer"):
        toolchain.ensure()
