"""The engine's event log, read back as steps."""

import json

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
