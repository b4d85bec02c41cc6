"""Where a model's shape comes from: a directory, the catalogue's snapshot, or the Hugging Face hub."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from cluster.config import Model
from cluster.index_check import index_note
from cluster.model_dir import MOST_BYTES, PATH, directory_of, find_shape, index_bytes, json_object
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

    @property
    def notes(self) -> tuple[str, ...]:
        """What the reader should know of it before trusting the plan."""
        return tuple(filter(None, [index_note(self.shape)]))


def find_model(model: str, *, revision: str = "", fetch: bool = False) -> Found:
    """The shape of a directory or a Hugging Face id; BadInput says what is wrong and what to do.

    An id in the catalogue is taken from there, without network, unless ``fetch`` or a revision asks the hub.
    """
    try:
        found = _find(model, revision, fetch=fetch)
    except BadInput as broken:
        # A stack's setting and this option name the same thing.
        raise BadInput(
            [replace(each, path="--model") if each.path == PATH else each for each in broken.problems]
        ) from None
    require_known(found.shape)
    if problem := serving_problem(found.shape, "--model"):
        raise BadInput([problem])
    return found


def _find(model: str, revision: str, *, fetch: bool) -> Found:
    directory = directory_of(model) if model else None
    if directory or model.startswith(("/", "~", ".")):
        _, shape = find_shape(Model(source=str(directory.absolute()))) if directory else (False, None)
        if directory is None or shape is None:
            raise _bad(f"there is no directory {model}", "Give a directory with a config.json, or an id.")
        return Found(shape, str(directory / "config.json"))
    if not (fetch or revision) and (shape := snapshot(model)):
        return Found(shape, f"Drydock's catalogue, from {snapshot_source()}")
    return _from_hub(model, revision or "main")


def _from_hub(model: str, revision: str) -> Found:
    if not re.fullmatch(r"[\w.-]+(/[\w.-]+)?", model):
        raise _bad(f"`{model}` is no Hugging Face id", "Write it as owner/name, or give a directory.")
    config = _read(model, "config.json", revision)
    if config is None:
        remedy = "Check the id and the revision; for a private repository set HF_TOKEN."
        raise _bad(f"the hub has no config.json of {model}@{revision} for you (404)", remedy)
    shape = shape_from_config(json_object(config, f"config.json of {model}"), path=f"{model}/config.json")
    index, name = _read(model, INDEX, revision), f"the index of {model}"
    total = index_bytes(json_object(index, name), name) if index is not None else None
    return Found(replace(shape, weights_bytes=total), f"{model}@{revision} on the hub")


def _read(model: str, file: str, revision: str) -> bytes | None:
    """The content of one file, from the hub or, where it cannot be reached, from its cache; None for 404.

    Asked directly, since the library's own download repeats a refusal for half a minute.
    """
    import httpx

    try:
        from huggingface_hub import constants, get_token, hf_hub_url, try_to_load_from_cache
    except ValueError as error:  # it takes HF_ENDPOINT apart as it is imported
        raise _bad(f"the hub cannot be reached: {error}", "Set HF_ENDPOINT to a URL, or unset it.") from None
    cached = try_to_load_from_cache(model, file, revision=revision)
    kept = Path(cached).read_bytes() if isinstance(cached, str) else None
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
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        if kept is not None:
            return kept
        raise _bad(
            f"{constants.ENDPOINT} cannot be reached for {model}: {error}",
            "Check the network and HF_ENDPOINT, or give a directory with the model's config.json.",
        ) from None
    if answer.status_code == httpx.codes.NOT_FOUND:
        return None
    raise _refused(model, answer.status_code)


def _limited(chunks: Iterator[bytes], name: str) -> bytes:
    """The content of an answer that is no larger than such a file can be."""
    content = bytearray()
    for chunk in chunks:
        content += chunk
        if len(content) > MOST_BYTES:
            raise _bad(f"{name} has more than {MOST_BYTES / 1e6:.0f} MB", "Check the id and HF_ENDPOINT.")
    return bytes(content)


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
