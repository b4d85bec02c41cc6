"""The key pair that opens SSH and the key that opens the API, made once for a stack."""

import secrets
from collections.abc import Collection, Sequence
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bootstrap.properties import UNKNOWN
from bootstrap.resources.resource import Difference, Refusal, Values, refusals
from bootstrap.work import Work

API_KEY_BYTES = 32
OUTPUTS = ("sshPublicKey", "sshPrivateKey", "apiKey")


class Credentials:
    """``drydock:index:Credentials``: nothing in; sshPublicKey, sshPrivateKey and apiKey out."""

    secrets: Collection[str] = frozenset({"sshPrivateKey", "apiKey"})

    def check(self, inputs: Values) -> tuple[Values, Sequence[Refusal]]:
        return inputs, refusals(inputs, {})

    def difference(self, state: Values, inputs: Values) -> Difference:  # noqa: ARG002 - there are no inputs
        return Difference()

    def planned(self, inputs: Values, state: Values | None) -> Values:
        return inputs | (state or dict.fromkeys(OUTPUTS, UNKNOWN))

    def create(self, inputs: Values, work: Work) -> tuple[str, Values]:  # noqa: ARG002 - instant
        key = Ed25519PrivateKey.generate()
        private = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
        public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
        api_key = secrets.token_urlsafe(API_KEY_BYTES)
        return str(uuid4()), {"sshPublicKey": public, "sshPrivateKey": private, "apiKey": api_key}

    def update(self, state: Values, inputs: Values, work: Work) -> Values:  # noqa: ARG002 - never differs
        return state

    def read(self, state: Values) -> Values | None:
        return state

    def delete(self, state: Values, work: Work) -> None:
        """Keys live in the state alone."""
