"""The resources of Drydock's own provider plugin, as Pulumi sees them.

Property names stay camelCase all the way: translating them would also rename the keys inside of a spec.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi


class _Resource(pulumi.CustomResource):
    """A resource of the provider `drydock`, with its inputs and the names of what only it can tell."""

    def __init__(
        self,
        kind: str,
        name: str,
        inputs: Mapping[str, Any],
        told: Sequence[str],
        opts: pulumi.ResourceOptions | None,
    ) -> None:
        super().__init__(f"drydock:index:{kind}", name, {**dict.fromkeys(told), **inputs}, opts)

    def _output(self, name: str) -> pulumi.Output[Any]:
        output: pulumi.Output[Any] = self.__dict__[name]
        return output


class Credentials(_Resource):
    """The key pair that opens SSH and the key that opens the API, made once a stack."""

    def __init__(self, name: str, opts: pulumi.ResourceOptions | None = None) -> None:
        secrets = pulumi.ResourceOptions(additional_secret_outputs=["sshPrivateKey", "apiKey"])
        told = ("sshPublicKey", "sshPrivateKey", "apiKey")
        super().__init__("Credentials", name, {}, told, pulumi.ResourceOptions.merge(opts, secrets))

    @property
    def ssh_public_key(self) -> pulumi.Output[str]:
        """One OpenSSH line."""
        return self._output("sshPublicKey")

    @property
    def ssh_private_key(self) -> pulumi.Output[str]:
        """Secret: ed25519 in OpenSSH's PEM."""
        return self._output("sshPrivateKey")

    @property
    def api_key(self) -> pulumi.Output[str]:
        """Secret: what clients send as bearer token."""
        return self._output("apiKey")


class Weights(_Resource):
    """The model's files in the bucket; ``source`` is an absolute directory or a Hugging Face id."""

    def __init__(
        self,
        name: str,
        *,
        bucket: pulumi.Input[str],
        region: str,
        source: str,
        revision: str,
        prefix: str,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "bucket": bucket,
            "region": region,
            "source": source,
            "revision": revision,
            "prefix": prefix,
        }
        super().__init__("Weights", name, inputs, ("manifestDigest", "totalBytes"), opts)

    def reference(self) -> dict[str, pulumi.Output[str]]:
        """What a node needs to fetch and to check them."""
        return {
            name: self._output(name) for name in ("bucket", "prefix", "manifestDigest", "source", "revision")
        }


class Node(_Resource):
    """One node's bootstrap, over SSH."""

    def __init__(
        self,
        resource_name: str,
        *,
        name: str,
        rank: int,
        address: pulumi.Input[str],
        user: str,
        instance_id: pulumi.Input[str],
        region: str,
        ssh_private_key: pulumi.Input[str],
        spec: Mapping[str, object],
        weights: Mapping[str, pulumi.Input[str]],
        deadline_s: int,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "name": name,
            "rank": rank,
            "address": address,
            "user": user,
            "instanceId": instance_id,
            "region": region,
            "sshPrivateKey": ssh_private_key,
            "spec": spec,
            "weights": weights,
            "deadlineS": deadline_s,
        }
        super().__init__("Node", resource_name, inputs, ("digest", "hostKeys"), opts)

    @property
    def digest(self) -> pulumi.Output[str]:
        """The digest of everything that was rendered for the node."""
        return self._output("digest")

    @property
    def host_keys(self) -> pulumi.Output[list[str]]:
        """The SSH host keys, read from the instance's console."""
        return self._output("hostKeys")


class Replica(_Resource):
    """One replica of the model, served by vLLM over its nodes."""

    def __init__(
        self,
        resource_name: str,
        *,
        name: str,
        nodes: Sequence[Mapping[str, pulumi.Input[Any]]],
        ssh_private_key: pulumi.Input[str],
        api_key: pulumi.Input[str],
        spec: Mapping[str, object],
        deadline_s: int,
        opts: pulumi.ResourceOptions | None = None,
    ) -> None:
        inputs = {
            "name": name,
            "nodes": nodes,
            "sshPrivateKey": ssh_private_key,
            "apiKey": api_key,
            "spec": spec,
            "deadlineS": deadline_s,
        }
        super().__init__("Replica", resource_name, inputs, ("endpoint", "digest"), opts)

    @property
    def endpoint(self) -> pulumi.Output[str]:
        """The API's base URL, e.g. ``http://10.77.1.4:8000/v1``."""
        return self._output("endpoint")
