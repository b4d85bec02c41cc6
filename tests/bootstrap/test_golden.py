"""Everything that is written to the nodes and done there, pinned; UPDATE_GOLDEN=1 writes it anew."""

import json
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from ansible_like.operations import File, Operation
from ansible_like.problems import problems_of
from bootstrap.node import node_operations
from bootstrap.replica import replica_operations
from tests.bootstrap.cases import API_KEY, CASES, REGION, Case

GOLDEN = Path(__file__).parents[1] / "golden" / "nodes"


def operations_of(case: Case, rank: int) -> list[Operation]:
    return [
        *node_operations(case.node, case.source, region=REGION, rank=rank),
        *replica_operations(case.replica, case.nodes[rank], case.nodes[0].address, API_KEY, "r" * 64),
    ]


def files_of(operations: Sequence[Operation]) -> dict[str, str]:
    """Every rendered file by its path, and all operations, contents left out, as ``operations.jsonl``."""
    files = {op.path.lstrip("/"): op.data.decode() for op in operations if isinstance(op, File)}
    # The tools are the same everywhere and lie in templates/ as they stand.
    files = {path: text for path, text in files.items() if not path.startswith("opt/")}
    return files | {"operations.jsonl": "".join(f"{line}\n" for line in lines_of(operations))}


def lines_of(operations: Sequence[Operation]) -> Iterator[str]:
    for operation in operations:
        told = {"kind": type(operation).__name__, **vars(operation)}
        if "mode" in told:
            told["mode"] = oct(told["mode"])
        yield json.dumps({key: value for key, value in told.items() if key != "content"})


def written(directory: Path) -> dict[str, str]:
    files = (path for path in sorted(directory.rglob("*")) if path.is_file())
    return {path.relative_to(directory).as_posix(): path.read_text() for path in files}


NODES = [(name, node.rank) for name, case in CASES.items() for node in case.nodes]


@pytest.mark.parametrize(("name", "rank"), NODES)
def test_node_is_rendered_as_pinned(name: str, rank: int) -> None:
    directory = GOLDEN / name / ("head", "worker")[rank]
    rendered = files_of(operations_of(CASES[name], rank))
    if os.environ.get("UPDATE_GOLDEN"):
        for path, text in rendered.items():
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_text(text)
    assert rendered == written(directory)


@pytest.mark.parametrize(("name", "rank"), NODES)
def test_no_node_asks_for_what_the_engine_refuses(name: str, rank: int) -> None:
    assert list(problems_of(operations_of(CASES[name], rank))) == []


def test_api_key_is_on_the_head_alone_and_for_root_alone() -> None:
    for name, rank in NODES:
        files = [op for op in operations_of(CASES[name], rank) if isinstance(op, File)]
        holding = [file for file in files if API_KEY in file.data.decode()]
        assert [file.path for file in holding] == (["/etc/drydock/api-key.env"] if rank == 0 else []), name
        for file in holding:
            assert (file.secret, stat.S_IMODE(file.mode), file.owner) == (True, 0o600, "root")
            assert API_KEY not in repr(file)
