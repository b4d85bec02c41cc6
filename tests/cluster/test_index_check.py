"""A checkpoint that is not as large as its shape says."""

from dataclasses import replace

import pytest

from cluster.index_check import index_note
from cluster.models import snapshot, snapshot_ids
from cluster.plan import plan
from cluster.rules import Facts
from cluster.weights_size import checkpoint_bytes
from tests.cluster.stacks import stack_config

LLAMA = snapshot("meta-llama/Meta-Llama-3.1-8B")
assert LLAMA is not None
BYTES = checkpoint_bytes(LLAMA)


@pytest.mark.parametrize("model_id", snapshot_ids())
def test_the_catalogue_needs_no_note(model_id: str) -> None:
    shape = snapshot(model_id)
    assert shape is not None
    assert index_note(shape) == ""


@pytest.mark.parametrize(
    ("share", "words"),
    [
        (0.996, ""),
        (1.004, ""),
        (0.99, "15.90 GB, 1.0% less than the 16.06 GB that config.json comes to"),
        (1.25, "20.08 GB, 25.0% more than the 16.06 GB that config.json comes to"),
    ],
)
def test_only_a_difference_of_more_than_half_a_percent_is_told(share: float, words: str) -> None:
    assert LLAMA is not None
    note = index_note(replace(LLAMA, weights_bytes=int(BYTES * share)))
    assert bool(note) is bool(words)
    assert words in note


def test_without_a_total_or_without_a_known_architecture_there_is_nothing_to_compare() -> None:
    assert LLAMA is not None
    assert index_note(replace(LLAMA, weights_bytes=None)) == ""
    assert index_note(replace(LLAMA, architecture="NewForCausalLM", weights_bytes=1)) == ""


def test_a_plan_carries_the_note() -> None:
    assert LLAMA is not None
    config = stack_config("staging", {"drydock:model.source": "meta-llama/Meta-Llama-3.1-8B"})
    assert plan(config, Facts(LLAMA, local_cloud=True)).notes == ()
    cut = replace(LLAMA, weights_bytes=BYTES // 2)
    (note,) = plan(config, Facts(cut, local_cloud=True)).notes
    assert "50.0% less" in note
