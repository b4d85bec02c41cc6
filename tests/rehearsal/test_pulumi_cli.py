"""The engine's event log, read back as steps."""

import json
from pathlib import Path

import pytest

from rehearsal import pulumi_cli, toolchain
from rehearsal.pulumi_cli import Stack, Step, steps

URN = "urn:pulumi:rehearsal::drydock::drydock:infra:Serving$drydock:index:Replica::replica-0"


def event(operation: str, urn: str, kind: str = "drydock:index:Replica") -> str:
    return json.dumps({"resourcePreEvent": {"metadata": {"op": operation, "urn": urn, "type": kind}}})


def test_only_what_was_done_counts() -> None:
    log = [
        json.dumps({"preludeEvent": {}}),
        event("update", URN),
        event("same", URN),
        event("create", "urn:pulumi:s::p::pulumi:pulumi:Stack::s", "pulumi:pulumi:Stack"),
    ]
    assert steps(log) == [Step("update", URN)]


def test_a_step_is_named_by_its_own_type_and_name() -> None:
    assert Step("update", URN).name == "drydock:index:Replica replica-0"


def test_no_secret_and_no_default_file_in_the_command_line() -> None:
    assert Stack("prod").argv("up", "--yes") == ["pulumi", "up", "--stack", "prod", "--yes"]


def test_a_second_start_from_a_shell_that_points_at_the_cloud_keeps_the_stand_ins(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HOME", "BACKEND", "TEMPORARY"):
        monkeypatch.setattr(pulumi_cli, name, tmp_path / name.lower())
    monkeypatch.setattr(toolchain, "pulumi_directory", lambda: tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "user"))  # without a real plugin
    monkeypatch.setenv("PULUMI_HOME", str(tmp_path / "home"))  # as `drydock rehearsal env` exports it
    plugins = [prepared_plugins() for _ in range(2)]
    assert plugins[0] == plugins[1]
    assert any(path.startswith("resource-aws-v7") for path in plugins[0])


def prepared_plugins() -> list[str]:
    pulumi_cli.prepare_home()
    root = pulumi_cli.HOME / "plugins"
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_symlink())
