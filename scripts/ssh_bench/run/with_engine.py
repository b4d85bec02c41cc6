"""A workload by the engine: HOSTS.json PLAY-FOLDER. Exit code 1 when a host failed."""

import json
import sys
from pathlib import Path
from typing import Any

from ansible_like.connection import Target
from ansible_like.operations import KINDS, Operation
from ansible_like.runner import apply


def main() -> int:
    hosts, play = json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2])
    wires = json.loads((play / "play.json").read_text())["operations"]
    operations = tuple(operation(wire) for wire in wires)
    key = Path(hosts["private_key"]).read_text()
    targets = [
        Target(each["name"], each["address"], "root", key, (each["host_key"],), port=each["port"])
        for each in hosts["hosts"]
    ]
    results = apply(dict.fromkeys(targets, operations), connect_deadline_s=60)
    for result in results.values():
        if result.error:
            sys.stderr.write(f"{result.error}\n")
    return 1 if any(result.failed for result in results.values()) else 0


def operation(wire: dict[str, Any]) -> Operation:
    """One operation of a play; a file's content is read from its source."""
    fields = {name: value for name, value in wire.items() if name != "kind"}
    if wire["kind"] == "File":
        fields["content"] = Path(fields.pop("source")).read_bytes()
    made: Operation = KINDS[wire["kind"]](**fields)
    return made


if __name__ == "__main__":
    sys.exit(main())
