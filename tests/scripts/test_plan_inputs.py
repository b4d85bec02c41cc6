"""What `drydock plan` says of broken input, by the real command: exit code 2, what is wrong, what to do."""

import codecs
import ctypes
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.models import snapshot
from scripts.drydock import app
from scripts.model_source import find_model
from tests.cluster.configs import SMALL_LLAMA
from tests.scripts.hub import Answer, hub

REPO = Path(__file__).resolve().parents[2]
INDEX = "model.safetensors.index.json"
V3 = json.loads((REPO / "cluster" / "data" / "models" / "deepseek-ai--DeepSeek-V3.json").read_text())
PICTURE = {"hidden_size": 8, "num_hidden_layers": 1, "intermediate_size": 8, "patch_size": 0, "image_size": 8}
GEMMA = {
    "architectures": ["Gemma3ForConditionalGeneration"],
    "text_config": SMALL_LLAMA,
    "vision_config": PICTURE,
}
NAN = float("nan")


def drydock(
    *args: str, environment: Mapping[str, str] | None = None, before: Callable[[], None] | None = None
) -> tuple[int, str]:
    """The command in a process of its own, as a user runs it: exit code, and both streams."""
    done = subprocess.run(
        [sys.executable, "-m", "scripts.drydock", "plan", *args, "--json"],
        capture_output=True,
        text=True,
        cwd=REPO,
        env={**os.environ, "PYTHONPATH": str(REPO), **(environment or {})},
        check=False,
        timeout=120,
        preexec_fn=before,
    )
    return done.returncode, done.stdout + done.stderr


def assert_refused(answer: tuple[int, str], what: str) -> None:
    """Exit code 2 with the reason and a way out, and no traceback."""
    code, text = answer
    assert code == 2, text
    assert what in text
    assert "→" in text
    assert "Traceback" not in text


def config(**changes: object) -> bytes:
    return json.dumps(SMALL_LLAMA | changes).encode()


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "config.json is empty"),
        (b'{"architectures": ["Llama', "cannot be read: Unterminated string"),
        (b"<!doctype html><html>sign in</html>", "it is an HTML page, not JSON"),
        (codecs.BOM_UTF8 + config(), "begins with a byte order mark"),
        (config().decode().encode("utf-16"), "it is UTF-16"),
        (bytes(range(256)), "cannot be read"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "a Git LFS pointer"),
        (b"[]", "holds no JSON object"),
        (b"null", "holds no JSON object"),
        (b"{" * 100_000, "cannot be read"),
        (b'{"hidden_size": ' + b"9" * 5000 + b"}", "cannot be read"),
        (b" " * 100_000_000, "has 100 MB, more than any config.json has"),
    ],
)
def test_a_file_that_is_no_config(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    assert_refused(drydock("--model", str(tmp_path)), what)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (config(num_hidden_layers=-3), "num_hidden_layers: is -3, not a whole number above 0"),
        (config(num_hidden_layers=0), "num_hidden_layers: is 0, not a whole number above 0"),
        (config(num_hidden_layers=2.0), "num_hidden_layers: is 2.0, not a whole number"),
        (config(num_hidden_layers=NAN), "num_hidden_layers: is nan, not a whole number"),
        (config(hidden_size=float("inf")), "hidden_size: is inf, not a whole number"),
        (config(num_hidden_layers="2"), "num_hidden_layers: is '2', not a whole number"),
        (config(num_hidden_layers=True), "num_hidden_layers: is True, not a whole number"),
        (config(num_hidden_layers=None), "num_hidden_layers: is missing"),
        (config(num_hidden_layers=10**9), "num_hidden_layers: is 1000000000, more than any model has"),
        (config(vocab_size=10**4000), "vocab_size: is 1000"),
        (config(num_attention_heads=5), "is 5, which does not divide hidden_size 64"),
        (config(num_key_value_heads=3), "is 3, which does not divide num_attention_heads 4"),
        (config(num_key_value_heads=8), "is 8, which does not divide num_attention_heads 4"),
        (config(head_dim=1.5), "head_dim: is 1.5"),
        (config(architectures="LlamaForCausalLM"), "architectures: is missing or empty"),
        (config(architectures=["NewForCausalLM"]), "NewForCausalLM"),
        (config(torch_dtype="int3"), "torch_dtype: is 'int3', none of bfloat16"),
        (config(text_config=[1]), "text_config: is [1], not a JSON object"),
        (config(layer_types="full_attention"), "layer_types: is 'full_attention', not a list"),
        (config(quantization_config="fp8"), "quantization_config: is 'fp8', not a JSON object"),
        (config(quantization_config={"bits": 4}), "quant_method: is missing"),
        (config(quantization_config={"quant_method": "gptq", "bits": "four"}), "bits: is 'four', none of 2"),
        (
            config(quantization_config={"quant_method": "awq", "group_size": 0}),
            "group_size: is 0, neither -1 nor",
        ),
        (
            config(quantization_config={"quant_method": "fp8", "weight_block_size": [0, 128]}),
            "weight_block_size: is [0, 128], not two whole numbers above 0",
        ),
        (
            config(
                quantization_config={
                    "quant_method": "compressed-tensors",
                    "config_groups": {"a": {"weights": {"num_bits": 8, "block_structure": ["x", "y"]}}},
                }
            ),
            "config_groups.a.weights.block_structure: is ['x', 'y'], not two whole numbers",
        ),
        (json.dumps(V3 | {"moe_layer_freq": -1}).encode(), "moe_layer_freq: is -1"),
        (json.dumps(V3 | {"num_experts_per_tok": 300}).encode(), "is 300, more than the 256 experts"),
        (json.dumps(V3 | {"num_nextn_predict_layers": 10**9}).encode(), "more than any model has"),
        (json.dumps(V3 | {"kv_lora_rank": None}).encode(), "kv_lora_rank: is missing"),
        (json.dumps(GEMMA).encode(), "vision_config: lacks a size or has a broken one: 0 is not"),
    ],
)
def test_a_config_with_a_broken_number_names_the_field(tmp_path: Path, content: bytes, what: str) -> None:
    (tmp_path / "config.json").write_bytes(content)
    answer = drydock("--model", str(tmp_path))
    assert_refused(answer, what)
    assert len(answer[1]) < 1000


def test_every_broken_number_is_told_at_once(tmp_path: Path) -> None:
    broken = config(hidden_size=-1, vocab_size=NAN, quantization_config={"quant_method": "awq", "bits": 9})
    (tmp_path / "config.json").write_bytes(broken)
    code, text = drydock("--model", str(tmp_path))
    assert code == 2
    for field in ("3 problems", "hidden_size: is -1", "vocab_size: is nan", "bits: is 9"):
        assert field in text


@pytest.mark.parametrize(
    ("index", "what"),
    [
        (None, f"{INDEX} is missing beside 1 shards"),
        (b"", f"{INDEX} is empty"),
        (b'{"metadata": {"total_size"', "cannot be read"),
        (b"[]", f"{INDEX} holds no JSON object"),
        (b"{}", "tells no metadata.total_size"),
        (b'{"metadata": {"total_size": -5}}', "tells no metadata.total_size"),
        (b'{"metadata": {"total_size": true}}', "tells no metadata.total_size"),
        (b'{"metadata": {"total_size": NaN}}', "tells no metadata.total_size"),
        (b'{"metadata": [1]}', "tells no metadata.total_size"),
        (b" " * 100_000_000, f"has 100 MB, more than any {INDEX} has"),
    ],
)
def test_shards_need_a_sound_index(tmp_path: Path, index: bytes | None, what: str) -> None:
    (tmp_path / "config.json").write_bytes(config())
    (tmp_path / "model-00001-of-00002.safetensors").write_bytes(b"x")
    if index is not None:
        (tmp_path / INDEX).write_bytes(index)
    assert_refused(drydock("--model", str(tmp_path)), what)


def test_weights_that_were_cut_short(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(config())
    (tmp_path / "model.safetensors").write_bytes(b"\xff\0\0\0\0\0\0\0{")
    assert_refused(drydock("--model", str(tmp_path)), "is no whole safetensors file: 9 bytes, 263 at least")


def test_an_index_that_does_not_suit_the_config_is_noted_and_no_error(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_bytes(config())
    (tmp_path / INDEX).write_text('{"metadata": {"total_size": 123456}}')
    (note,) = find_model(str(tmp_path)).notes
    assert "the checkpoint has 123.5 kB" in note
    code, text = drydock("--model", str(tmp_path))
    assert (code, json.loads(text)["notes"]) == (0, [note])
    shown = CliRunner().invoke(app, ["plan", "--model", str(tmp_path)]).output
    assert " ".join(f"note: {note}".split()) in " ".join(shown.split())
    (tmp_path / INDEX).unlink()
    assert find_model(str(tmp_path)).notes == ()


def test_links_that_lead_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "config.json").symlink_to(tmp_path / "config.json")
    assert_refused(drydock("--model", str(tmp_path)), "config.json cannot be read")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    assert_refused(drydock("--model", str(tmp_path / "round")), "there is no directory")
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").write_bytes(config())
    (tmp_path / INDEX).symlink_to(tmp_path / INDEX)
    assert_refused(drydock("--model", str(tmp_path)), f"{INDEX} cannot be read")


def test_what_is_no_file(tmp_path: Path) -> None:
    """A pipe would hold the command forever, a device would fill its memory."""
    os.mkfifo(tmp_path / "config.json")
    assert_refused(drydock("--model", str(tmp_path)), "config.json is no regular file")
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").symlink_to("/dev/zero")
    assert_refused(drydock("--model", str(tmp_path)), "config.json is no regular file")
    (tmp_path / "config.json").unlink()
    (tmp_path / "config.json").mkdir()
    assert_refused(drydock("--model", str(tmp_path)), "config.json is no regular file")


def _bound_by_permissions() -> None:
    """Takes from root its right to read everything; others never had it."""
    drop, override, search = 24, 1, 2  # PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
    libc = ctypes.CDLL(None)
    for capability in (override, search):
        libc.prctl(drop, capability, 0, 0, 0)


@pytest.mark.parametrize("closed", [".", "model", "model/config.json"])
def test_what_may_not_be_read(tmp_path: Path, closed: str) -> None:
    model = tmp_path / "home" / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_bytes(config())
    place = tmp_path / "home" / closed
    place.chmod(0)
    try:
        answer = drydock("--model", str(model), before=_bound_by_permissions)
    finally:
        place.chmod(0o700)
    assert_refused(answer, "cannot be read: [Errno 13] Permission denied")
    assert "permissions" in answer[1]


@pytest.mark.parametrize(
    ("model", "what"),
    [
        ("a" * 300, "File name too long"),
        ("~nobody-of-that-name/model", "cannot be read"),
        ("/no/such/place", "there is no directory /no/such/place"),
        ("./", "config.json is missing"),
        ("owner/name/more", "is no Hugging Face id"),
        ("", "is no Hugging Face id"),
    ],
)
def test_a_name_that_leads_nowhere(model: str, what: str) -> None:
    assert_refused(drydock("--model", model), what)


def ask(endpoint: str, home: Path) -> tuple[int, str]:
    return drydock(
        *("--model", "nobody/nothing"), environment={"HF_ENDPOINT": endpoint, "HF_HOME": str(home)}
    )


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ((401, {}, b""), "answers 401 for nobody/nothing: unknown, private or gated"),
        ((403, {}, b""), "answers 403 for nobody/nothing: unknown, private or gated"),
        ((404, {}, b""), "has no config.json of nobody/nothing@main for you (404)"),
        ((429, {"Retry-After": "300"}, b""), "answers 429 for nobody/nothing: too many requests"),
        ((500, {}, b"<html>"), "answers 500 for nobody/nothing"),
        ((503, {}, b""), "answers 503 for nobody/nothing"),
        ((302, {"Location": "/again/config.json"}, b""), "cannot be reached"),
        ((302, {"Location": "http://[::1"}, b""), "cannot be reached"),
        ((200, {}, b"<html>sign in</html>"), "it is an HTML page, not JSON"),
        ((200, {}, b""), "is empty"),
        ((200, {"Content-Length": "1000"}, b'{"architectures"'), "cannot be reached"),
        ((200, {}, b" " * 100_000_000), "has more than 20 MB"),
        ((200, {"Content-Encoding": "gzip"}, b"no gzip"), "cannot be reached"),
        ((200, {}, config(num_hidden_layers=-1)), "nobody/nothing/config.json: num_hidden_layers: is -1"),
    ],
)
def test_what_the_hub_answers(tmp_path: Path, answer: Answer, what: str) -> None:
    with hub({"": answer}) as endpoint:
        assert_refused(ask(endpoint, tmp_path), what)


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        ((200, {}, b""), "the index of nobody/nothing is empty"),
        ((200, {}, b"{}"), "the index of nobody/nothing tells no metadata.total_size"),
        ((429, {}, b""), "answers 429"),
    ],
)
def test_what_the_hub_answers_for_the_index(tmp_path: Path, answer: Answer, what: str) -> None:
    with hub({"/config.json": (200, {}, config()), f"/{INDEX}": answer}) as endpoint:
        assert_refused(ask(endpoint, tmp_path), what)


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "no-address", "http://[::1"])
def test_a_mirror_that_is_down_or_no_address(tmp_path: Path, endpoint: str) -> None:
    answer = ask(endpoint, tmp_path)
    assert_refused(answer, "cannot be reached")
    assert "HF_ENDPOINT" in answer[1]


def test_the_catalogue_needs_no_hub(tmp_path: Path) -> None:
    code, text = drydock(
        *("--model", "deepseek-ai/DeepSeek-V3"),
        environment={"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path)},
    )
    assert (code, json.loads(text)["fits"]) == (0, True)
    assert snapshot("deepseek-ai/DeepSeek-V3") == find_model("deepseek-ai/DeepSeek-V3").shape
