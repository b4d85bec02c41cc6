"""Every flag that Drydock passes, through the parser of the vLLM that nodes run."""

import json
import subprocess
from pathlib import Path

import pytest

from cluster.layout import Layout
from cluster.profiles import TUNINGS
from cluster.vllm_args import REMOVED_FLAGS, Serve, head_args, words, worker_args
from rehearsal import image
from tests.cluster.stacks import stack_config

pytestmark = pytest.mark.e2e

HERE = Path(__file__).parent


def refusals(command_lines: list[list[str]]) -> list[str]:
    """What vLLM's parser says to each command line; "" where it takes it."""
    command = image.inside_command(
        image.root(),
        ["/opt/vllm/bin/python", "/run/drydock/parse_flags.py"],
        read_only=True,
        network=False,
        mounts={HERE / "parse_flags.py": "/run/drydock/parse_flags.py"},
        environment={"HOME": "/tmp", "PYTHONDONTWRITEBYTECODE": "1"},
    )
    done = subprocess.run(
        command, input=json.dumps(command_lines), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    answers: list[str] = json.loads(done.stdout.splitlines()[-1])
    return answers


def filled(words_: tuple[str, ...]) -> list[str]:
    return [word.replace("{NODE_RANK}", "1").replace("{MASTER_ADDR}", "10.0.0.4") for word in words_]


def test_the_parser_takes_every_flag_of_ours_and_none_of_those_that_are_gone() -> None:
    stacks = [stack_config(name) for name in ("rehearsal", "staging", "prod")]
    ours = [filled(args(stack, "/m")) for stack in stacks for args in (head_args, worker_args)]
    wide = Layout(8, 2, 2, expert_parallel=True, nodes=4)
    ours += [
        filled(words(Serve("/m", "m", wide, 8000, "auto", "awq", "fp8", 4096, tuning=tuning.arguments())))
        for tuning in TUNINGS.values()
    ]
    gone = [["/m", flag] for flag in REMOVED_FLAGS]
    answers = refusals([line for line in (*ours, *gone) if line])
    taken, refused = answers[: -len(gone)], answers[-len(gone) :]
    assert [answer for answer in taken if answer] == []
    assert all(refused), dict(zip(REMOVED_FLAGS, refused, strict=True))
