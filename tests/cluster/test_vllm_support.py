"""What the pinned vLLM serves, and whose Python it may run."""

from dataclasses import replace

import pytest

from cluster.families import FAMILIES
from cluster.models import shape_from_config, snapshot, snapshot_ids
from cluster.vllm_support import VLLM_VERSION, least_version, remote_code_problem, serving_problem
from tests.cluster.configs import UNKNOWN
from tests.cluster.stacks import TINY

OTHER = replace(TINY, architecture="NewForCausalLM", own_code=True)


@pytest.mark.parametrize("architecture", FAMILIES)
def test_the_pinned_vllm_serves_every_known_architecture(architecture: str) -> None:
    assert serving_problem(replace(TINY, architecture=architecture), "--model") is None


@pytest.mark.parametrize(
    ("architecture", "least"),
    [
        ("DeepseekV3ForCausalLM", "0.6.6"),  # the article's own release
        ("Qwen3NextForCausalLM", "0.10.2"),
        ("DeepseekV32ForCausalLM", "0.11.0"),
        ("Qwen3_5MoeForConditionalGeneration", "0.17.0"),
        ("NewForCausalLM", ""),
    ],
)
def test_an_architecture_tells_its_first_release(architecture: str, least: str) -> None:
    assert least_version(architecture) == least


def test_an_older_vllm_is_named_with_what_the_architecture_needs() -> None:
    """0.9 is before 0.10: numbers are compared, not text."""
    shape = replace(TINY, architecture="Qwen3NextForCausalLM")
    problem = serving_problem(shape, "--model", version="0.9.2")
    assert problem is not None
    assert "from 0.10.2 on, and nodes get 0.9.2" in problem.what
    assert serving_problem(shape, "--model", version="0.10.2") is None


@pytest.mark.parametrize("model_id", snapshot_ids())
def test_no_model_of_the_catalogue_needs_code_of_its_own(model_id: str) -> None:
    shape = snapshot(model_id)
    assert shape is not None
    problem = remote_code_problem(shape, "--trust-remote-code")
    assert problem is not None
    assert f"vLLM has {shape.architecture} built in" in problem.what
    assert problem.remedy == "Remove it."


def test_code_of_the_repository_is_allowed_from_the_release_that_made_it_safe_on() -> None:
    assert remote_code_problem(OTHER, "x") is None
    assert remote_code_problem(OTHER, "x", version="0.31.0") is None
    problem = remote_code_problem(OTHER, "x", version="0.30.1")
    assert problem is not None
    assert "0.31.0 is the first that does not" in problem.what


def test_a_config_tells_whether_it_brings_code() -> None:
    assert not shape_from_config(UNKNOWN).own_code
    assert shape_from_config(UNKNOWN | {"auto_map": {"AutoModel": "modeling_new.NewModel"}}).own_code


def test_the_pinned_vllm_is_safe_with_code_of_a_repository() -> None:
    assert tuple(map(int, VLLM_VERSION.split("."))) >= (0, 31, 0)
