"""Where a model's shape comes from: a directory, the catalogue's snapshot, or the Hugging Face hub."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.config import Model
from cluster.model_dir import MOST_BYTES, find_shape, index_bytes, json_object
from cluster.models import shape_from_config, snapshot, snapshot_source
from cluster.problems import BadInput, Problem
from cluster.shape import ModelShape
from cluster.vllm_support import serving_problem
from cluster.weights_size import require_known

INDEX = "model.safetensors.index.json"


@dataclass(frozen=True)
class Found:
    """A shape and where it was read."""

    shape: ModelShape
    source: str


def find_model(model: str, *, revision: str = "", fetch: bool = False) -> Found:
    """The shape of a directory or a Hugging Face id; BadInput says what is wrong and what to do.

    An id in the catalogue is taken from there, without network, unless ``fetch`` or a revision asks the hub.
    """
    directory = Path(model).expanduser()
    if model.startswith(("/", "~", ".")) or directory.is_dir():
        exists, shape = find_shape(Model(source=str(directory.absolute())))
        if not exists or shape is None:
            raise _bad(f"there is no directory {directory}", "Give a directory with a config.json, or an id.")
        found = Found(shape, str(directory / "config.json"))
    elif not (fetch or revision) and (shape := snapshot(model)):
        found = Found(shape, snapshot_source())
    else:
        found = _from_hub(model, revision or "main")
    require_known(found.shape)
    if problem := serving_problem(found.shape, "--model"):
        raise BadInput([problem])
    return found


def _from_hub(model: str, revision: str) -> Found:
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model):
        raise _bad(f"`{model}` is no Hugging Face id", "Write it as owner/name, or give a directory.")
    config = _read(model, "config.json", revision)
    if config is None:
        remedy = "Check the id and the revision; for a private repository set HF_TOKEN."
        raise _bad(f"the hub has no config.json of {model}@{revision} for you (404)", remedy)
    shape = shape_from_config(json_object(config, f"config.json of {model}"), path=f"{model}/config.json")
    index, name = _read(model, INDEX, revision), f"the index of {model}"
    total = index_bytes(json_object(index, name), name) if index else None
    return Found(replace(shape, weights_bytes=total), f"{model}@{revision} on the hub")


def _read(model: str, file: str, revision: str) -> str | None:
    """The text of one file, from the hub or, where it cannot be reached, from its cache; None for 404.

    Asked directly, since the library's own download repeats a refusal for half a minute.
    """
    import httpx
    from huggingface_hub import constants, get_token, hf_hub_url, try_to_load_from_cache

    cached = try_to_load_from_cache(model, file, revision=revision)
    kept = Path(cached).read_text(encoding="utf-8") if isinstance(cached, str) else None
    if constants.HF_HUB_OFFLINE:
        if kept is None and file != INDEX:
            remedy = "Unset HF_HUB_OFFLINE, or give a directory with the model's config.json."
            raise _bad(f"{model} is neither in the catalogue nor in the hub's cache", remedy)
        return kept
    url, token = hf_hub_url(model, file, revision=revision), get_token()
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with httpx.stream("GET", url, headers=headers, timeout=10, follow_redirects=True) as answer:
            if answer.status_code == httpx.codes.OK:
                return _limited(answer.iter_bytes(), f"{file} of {model}")
    except (httpx.HTTPError, OSError) as error:
        if kept is not None:
            return kept
        raise _bad(
            f"{model} is not in the catalogue, and {constants.ENDPOINT} cannot be reached: {error}",
            "Check the network and HF_ENDPOINT, or give a directory with the model's config.json.",
        ) from None
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    raise _refused(model, answer.status_code)


def _limited(chunks: Iterator[bytes], name: str) -> str:
    """The text of an answer that is no larger than such a file can be."""
    text = bytearray()
    for chunk in chunks:
        text += chunk
        if len(text) > MOST_BYTES:
            raise _bad(f"{name} has more than {MOST_BYTES / 1e6:.0f} MB", "Check the id and HF_ENDPOINT.")
    return text.decode("utf-8", errors="replace")


def _refused(model: str, status: int) -> BadInput:
    if status == 429:
        remedy = "Wait some minutes, set HF_TOKEN, or set HF_ENDPOINT to a mirror."
        return _bad(f"the hub answers 429 for {model}: too many requests", remedy)
    if status in (401, 403):
        remedy = "Check the id, accept its licence on the hub, and set HF_TOKEN to a token that may read it."
        return _bad(f"the hub answers {status} for {model}: unknown, private or gated", remedy)
    return _bad(f"the hub answers {status} for {model}", "Try again later, or give a directory.")


def _bad(what: str, remedy: str) -> BadInput:
    return BadInput([Problem("--model", what, remedy)])
