"""Pulumi's command line against the local cloud: its environment, its runs, and what a run did."""

import importlib.metadata
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.problems import Failure
from rehearsal import cloud, paths, toolchain

PASSPHRASE = "rehearsal"  # noqa: S105 - guards a throw-away cluster; the state is this machine's root's alone
BACKEND = paths.STATE / "pulumi"
HOME = paths.STATE / "pulumi-home"
TEMPORARY = paths.STATE / "tmp"
CANCEL_S = 60


def environment() -> dict[str, str]:
    """The variables that point Pulumi and any AWS client at the local cloud, PATH included."""
    return {
        **cloud.environment(),
        # Without side files of metadata: Pulumi writes them in place, and a kill would leave a torn one.
        "PULUMI_BACKEND_URL": f"file://{BACKEND}?metadata=skip",
        "PULUMI_HOME": str(HOME),
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        "PULUMI_SKIP_UPDATE_CHECK": "true",
        "PATH": os.pathsep.join([str(toolchain.pulumi_directory()), os.environ["PATH"]]),
    }


def client_arguments() -> dict[str, Any]:
    """The local cloud's endpoint and keys, as boto3's clients take them."""
    variables = cloud.environment()
    return {
        "endpoint_url": variables["AWS_ENDPOINT_URL"],
        "region_name": variables["AWS_REGION"],
        "aws_access_key_id": variables["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": variables["AWS_SECRET_ACCESS_KEY"],
    }


def prepare_home() -> None:
    """Make the rehearsal's own Pulumi home: its state and plugins; the user's ~/.pulumi is left alone."""
    shutil.rmtree(HOME / "plugins", ignore_errors=True)
    for folder in (BACKEND, HOME / "plugins", TEMPORARY):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    named = os.environ.get("PULUMI_HOME")  # ours, in a shell that points at the cloud
    users_home = Path(named) if named and Path(named) != HOME else Path.home() / ".pulumi"
    real_aws = sorted(users_home.glob("plugins/resource-aws-v7.*/pulumi-resource-aws"))
    for source in real_aws:
        _link(HOME / "plugins" / source.parent.name, source.parent)
    if not real_aws:
        stand_in = paths.REPO / "rehearsal" / "aws_plugin" / "bin" / "pulumi-resource-aws"
        version = importlib.metadata.version("pulumi-aws")
        _link(HOME / "plugins" / f"resource-aws-v{version}" / stand_in.name, stand_in)
    language = "pulumi-language-python"
    if not (toolchain.pulumi_directory() / language).exists() and not shutil.which(language):
        version = importlib.metadata.version("pulumi")
        stand_in = paths.REPO / "rehearsal" / "language_host" / "bin" / language
        _link(HOME / "plugins" / f"language-python-v{version}" / language, stand_in)


def _link(link: Path, target: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(target)


@dataclass(frozen=True)
class Step:
    """What one run did to one resource."""

    operation: str
    """create, update, replace, delete, same, … in Pulumi's own words."""
    urn: str

    @property
    def name(self) -> str:
        """The resource's `type name`, as a reader knows it."""
        kind, name = self.urn.split("::")[-2:]
        return f"{kind.split('$')[-1]} {name}"


@dataclass(frozen=True)
class Stack:
    """One stack of the project, driven through the command line as a user would."""

    name: str
    config_file: Path | None = None
    """Another file than Pulumi.<name>.yaml: a run that changes settings leaves the checkout alone."""
    project: Path = paths.REPO
    extra_environment: Mapping[str, str] | None = None

    def argv(self, command: str, *arguments: str) -> list[str]:
        """The command line of one run, without secrets."""
        config = ["--config-file", str(self.config_file)] if self.config_file else []
        return ["pulumi", command, "--stack", self.name, *config, *arguments]

    def environment(self) -> dict[str, str]:
        """The whole environment that the command runs in."""
        return {**os.environ, **environment(), "TMPDIR": str(TEMPORARY), **(self.extra_environment or {})}

    def init(self) -> None:
        """Make the stack in the backend unless it is there.

        Pulumi writes the salt of a new stack's passphrase into its settings: here, into a copy of them.
        """
        with tempfile.TemporaryDirectory(dir=TEMPORARY) as folder:
            for name in ("Pulumi.yaml", f"Pulumi.{self.name}.yaml"):
                shutil.copy(self.project / name, folder)
            self._captured(["pulumi", "stack", "select", "--create", self.name, "--cwd", folder])

    def select(self) -> None:
        """Make it the stack that pulumi takes in the project's folder when none is named."""
        self._captured(["pulumi", "stack", "select", self.name])

    def up(self, *arguments: str) -> list[Step]:
        """Run `pulumi up`, showing its own display; answers what it did. Raises Failure."""
        return self._run("up", "--yes", "--skip-preview", *arguments)

    def destroy(self, *arguments: str) -> list[Step]:
        """Run `pulumi destroy`, showing its own display; answers what it did."""
        return self._run("destroy", "--yes", "--skip-preview", *arguments)

    def preview(self, *arguments: str) -> str:
        """Run `pulumi preview` and answer what it printed."""
        return self._captured(self.argv("preview", *arguments))

    def outputs(self) -> dict[str, object]:
        """The stack's outputs, secrets in clear: keep them in memory."""
        text = self._captured(["pulumi", "stack", "output", "--json", "--show-secrets", "--stack", self.name])
        outputs: dict[str, object] = json.loads(text)
        return outputs

    def cancel(self) -> None:
        """Release the lock that a killed run left in the backend."""
        self._captured(["pulumi", "cancel", "--yes", "--stack", self.name])

    def start(self, command: str, *arguments: str, output: Path) -> subprocess.Popen[bytes]:
        """Start a run in a process group of its own, its output to a file, and let the caller end it."""
        with output.open("wb") as file:
            return subprocess.Popen(
                self.argv(command, "--yes", "--skip-preview", *arguments),
                cwd=self.project,
                env=self.environment(),
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _run(self, command: str, *arguments: str) -> list[Step]:
        log = TEMPORARY / f"{self.name}-{command}-events.jsonl"
        log.parent.mkdir(parents=True, exist_ok=True)
        log.unlink(missing_ok=True)
        argv = self.argv(command, *arguments, "--event-log", str(log))
        variables = {**self.environment(), "PULUMI_DEBUG_COMMANDS": "true"}
        code = _until_ended(subprocess.Popen(argv, cwd=self.project, env=variables))
        if code != 0:
            raise Failure(
                f"{' '.join(self.argv(command, *arguments))} ended with exit code {code}",
                "its messages are above; mend what they name and run it again, it goes on where it stopped",
            )
        return steps(log.read_text().splitlines())

    def _captured(self, argv: Sequence[str]) -> str:
        done = subprocess.run(
            argv, cwd=self.project, env=self.environment(), capture_output=True, text=True, check=False
        )
        if done.returncode != 0:
            raise Failure(
                f"{' '.join(argv)} ended with exit code {done.returncode}:\n{done.stdout}{done.stderr}",
                "mend what the message names and run it again",
            )
        return done.stdout


def _until_ended(pulumi: subprocess.Popen[bytes]) -> int:
    """The exit code; after Ctrl-C Pulumi is given time to cancel its steps and to end its plugins."""
    try:
        return pulumi.wait()
    except KeyboardInterrupt:
        if (
            not sys.stdin.isatty()
        ):  # a terminal's Ctrl-C has reached Pulumi already; a second one would cut it off
            pulumi.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            pulumi.wait(CANCEL_S)
        raise
    finally:
        pulumi.kill()
        pulumi.wait()


def stacks() -> list[Stack]:
    """The stacks that the project has settings for."""
    return [Stack(path.name.split(".")[1]) for path in sorted(paths.REPO.glob("Pulumi.*.yaml"))]


def steps(events: Sequence[str]) -> list[Step]:
    """The steps in an engine's event log (one JSON object a line), unchanged resources left out."""
    found = []
    for line in events:
        metadata = json.loads(line).get("resourcePreEvent", {}).get("metadata")
        if metadata and metadata["op"] not in {"same", "read"} and not metadata["type"].startswith("pulumi:"):
            found.append(Step(metadata["op"], metadata["urn"]))
    return found
