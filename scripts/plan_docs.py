"""Write what docs/ says of `drydock plan`: its JSON schema, and each command's output in docs/plan.md.

python -m scripts.plan_docs
"""

import json
import os
import re
import shlex
import subprocess
import sys
import tempfile

from cluster.plan_report import PlanReport
from rehearsal import paths

SCHEMA = paths.REPO / "docs" / "plan.schema.json"
PAGE = paths.REPO / "docs" / "plan.md"
BLOCK = re.compile(r"(?ms)^```console\n\$ (?P<command>(?-s:(?:.*\\\n)*.*))\n(?P<output>.*?)^```$")


def schema() -> str:
    """The schema of `drydock plan --json`."""
    return json.dumps(PlanReport.model_json_schema(mode="serialization"), indent=2) + "\n"


def with_output(page: str) -> str:
    """The page with what each command in it prints today, at 80 columns and without prices of a refresh."""

    def run(block: re.Match[str]) -> str:
        return f"```console\n$ {block['command']}\n{output(block['command'])}```"

    return BLOCK.sub(run, page)


def output(command: str) -> str:
    """What a shell prints for it, errors too."""
    drydock = f'drydock() {{ {shlex.quote(sys.executable)} -m scripts.drydock "$@"; }}'
    with tempfile.TemporaryDirectory() as empty:
        done = subprocess.run(
            ["bash", "-c", f"{drydock}\n{command}"],
            cwd=paths.REPO,
            env={
                **{"PATH": os.environ["PATH"], "HOME": empty, "LC_ALL": "C.UTF-8"},
                **{"COLUMNS": "80", "DRYDOCK_CACHE": empty, "PYTHONPATH": str(paths.REPO)},
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
    return "".join(f"{line.rstrip()}\n" for line in done.stdout.splitlines())


if __name__ == "__main__":
    SCHEMA.write_text(schema())
    PAGE.write_text(with_output(PAGE.read_text()))
