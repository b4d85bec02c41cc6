"""Where a model's shape comes from: a directory, the catalogue's snapshot, or the Hugging Face hub."""

from dataclasses import dataclass
from pathlib import Path

from cluster.config import Model
from cluster.model_dir import MOST_BYTES, find_shape, index_bytes, json_object
from cluster.models import shape_from_config, snapshot, snapshot_source
from cluster.problems import BadInput, Problem
from cluster.shape import ModelShape
from cluster.weights_size import require_known


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
    return found


def _from_hub(model: str, revision: str) -> Found:
    config = json_object(_download(model, "config.json", revision) or "", f"config.json of {model}")
    index = _download(model, "model.safetensors.index.json", revision)
    name = f"the index of {model}"
    total = index_bytes(json_object(index, name), name) if index else None
    return Found(shape_from_config(config, total, path=f"{model}/config.json"), f"{model}@{revision}")


def _download(model: str, file: str, revision: str) -> str | None:
    """The text of one file; None where the repository lacks an optional one."""
    import httpx
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        path = Path(hf_hub_download(model, file, revision=revision, etag_timeout=10))
        if path.stat().st_size > MOST_BYTES:
            raise _bad(f"{file} of {model} has {path.stat().st_size / 1e6:.0f} MB", "Check the id.")
        return path.read_text(encoding="utf-8")
    except HFValidationError:
        raise _bad(
            f"`{model}` is no Hugging Face id", "Write it as owner/name, or give a directory."
        ) from None
    except GatedRepoError:
        remedy = "Accept its licence on the hub and set HF_TOKEN to a token that may read it."
        raise _bad(f"{model} is gated (401 or 403)", remedy) from None
    except RepositoryNotFoundError:
        remedy = "Check the id; for a private repository set HF_TOKEN to a token that may read it."
        raise _bad(f"the hub knows no {model}, or not for you (401 or 404)", remedy) from None
    except RevisionNotFoundError:
        raise _bad(f"{model} has no revision {revision}", "Take main, or a commit that it has.") from None
    except LocalEntryNotFoundError as error:
        if file != "config.json":
            return None
        raise _unreachable(model, error.__cause__ or error) from None
    except EntryNotFoundError:
        if file != "config.json":
            return None
        raise _bad(f"{model} has no {file}", "Take a repository in the transformers format.") from None
    except HfHubHTTPError as error:
        raise _refused(model, error.response.status_code) from None
    except (httpx.HTTPError, OSError) as error:
        raise _unreachable(model, error) from None


def _refused(model: str, status: int) -> BadInput:
    if status == 429:
        return _bad(
            f"the hub answers 429 for {model}: too many requests", "Wait some minutes, or set HF_TOKEN."
        )
    if status in (401, 403):
        return _bad(f"the hub answers {status} for {model}", "Set HF_TOKEN to a token that may read it.")
    return _bad(f"the hub answers {status} for {model}", "Try again later, or give a directory.")


def _unreachable(model: str, error: BaseException) -> BadInput:
    response = getattr(error, "response", None)
    if response is not None:
        return _refused(model, int(response.status_code))
    return _bad(
        f"{model} is not in the catalogue, and the hub cannot be reached: {str(error).splitlines()[0][:200]}",
        "Check the network and HF_ENDPOINT, or give a directory with the model's config.json.",
    )


def _bad(what: str, remedy: str) -> BadInput:
    return BadInput([Problem("--model", what, remedy)])
