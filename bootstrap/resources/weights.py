"""A model's files in the cluster's bucket."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from bootstrap.manifest import hub_digest
from bootstrap.properties import UNKNOWN
from bootstrap.resources.resource import Difference, Refusal, Values, changed, refusals
from bootstrap.weights import Place, delete_all, local_manifest, remote_digest, upload
from bootstrap.work import Work

INPUTS: Mapping[str, type] = {"bucket": str, "region": str, "source": str, "revision": str, "prefix": str}


class Weights:
    """``drydock:index:Weights``: a local directory is uploaded; a hub's model is left to the first node."""

    secrets: Collection[str] = frozenset()

    def check(self, inputs: Values) -> tuple[Values, Sequence[Refusal]]:
        """Adds ``manifestDigest``: what the source's files are, or which of the hub's models it is."""
        given = {name: value for name, value in inputs.items() if name != "manifestDigest"}
        found = refusals(given, INPUTS)
        if found:
            return inputs, found
        try:
            return given | {"manifestDigest": _digest(given["source"], given["revision"])}, []
        except OSError as error:
            remedy = "set drydock:model.source to the directory that holds the model's files"
            return given, [Refusal("source", f"{error}: {remedy}")]

    def difference(self, state: Values, inputs: Values) -> Difference:
        replaces = changed(state, inputs, ("bucket", "region", "prefix"))
        return Difference(
            replaces + changed(state, inputs, ("manifestDigest", "source", "revision")), replaces
        )

    def planned(self, inputs: Values, state: Values | None) -> Values:
        same = state is not None and not changed(state, inputs, ("manifestDigest",))
        return inputs | {"totalBytes": state["totalBytes"] if state and same else UNKNOWN}

    def create(self, inputs: Values, work: Work) -> tuple[str, Values]:
        place = _place(inputs)
        return f"s3://{place.bucket}/{place.prefix}", self._filled(inputs, work)

    def update(self, state: Values, inputs: Values, work: Work) -> Values:  # noqa: ARG002 - S3 is asked instead
        return self._filled(inputs, work)

    def read(self, state: Values) -> Values | None:
        """An uploaded model is gone when its manifest is; a hub's model may not be there yet."""
        if not state["source"].startswith("/"):
            return state
        digest = remote_digest(_place(state))
        return state | {"manifestDigest": digest} if digest else None

    def delete(self, state: Values, work: Work) -> None:
        count = delete_all(_place(state))
        work.say(f"{count} objects deleted")

    def _filled(self, inputs: Values, work: Work) -> Values:
        if not inputs["source"].startswith("/"):
            return inputs | {"totalBytes": 0}
        directory = Path(inputs["source"])
        manifest = local_manifest(directory, work)
        upload(directory, manifest, _place(inputs), work)
        return inputs | {"manifestDigest": manifest.digest, "totalBytes": manifest.total_bytes}


def _digest(source: object, revision: object) -> object:
    """Raises OSError when the source is a directory that cannot be read."""
    if not isinstance(source, str) or not isinstance(revision, str):
        return UNKNOWN
    if not source.startswith("/"):
        return hub_digest(source, revision)
    if not Path(source).is_dir():
        raise NotADirectoryError(f"{source} is no directory")
    manifest = local_manifest(Path(source))
    if not manifest.files:
        raise FileNotFoundError(f"{source} holds no files")
    return manifest.digest


def _place(values: Values) -> Place:
    return Place(values["bucket"], values["prefix"], values["region"])
