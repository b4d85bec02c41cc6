"""Ready means: one real completion with the right answer. /health alone is green before the engine works."""

from dataclasses import dataclass

import httpx

from bootstrap.specs import ReplicaSpec
from cluster.problems import Failure

QUICK_S = 5.0
ANSWER_TOKENS = 64


@dataclass(frozen=True)
class Endpoint:
    """The head's OpenAI-compatible API, e.g. ``http://10.77.1.4:8000/v1``."""

    address: str
    port: int

    @property
    def root(self) -> str:
        return f"http://{self.address}:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.root}/v1"


class Blocked(Exception):  # noqa: N818 - the counterpart of Failure
    """Nothing answers at the API's port, not even a refusal: something in between drops the packets."""


def is_healthy(endpoint: Endpoint) -> bool:
    """Whether the server says that it is up: worth a question, no more. Raises Blocked."""
    try:
        return httpx.get(f"{endpoint.root}/health", timeout=QUICK_S).is_success
    except httpx.ConnectTimeout as error:
        raise Blocked(str(error)) from error
    except httpx.HTTPError:
        return False


def ask(endpoint: Endpoint, spec: ReplicaSpec, api_key: str, timeout_s: float) -> str | None:
    """The replica's answer to its readiness question; None when it does not answer yet.

    Raises Failure when it answers wrongly, or refuses in a way that waiting does not mend.
    """
    request = {
        "model": spec.model,
        "messages": [{"role": "user", "content": spec.readiness.prompt}],
        "temperature": 0,
        "max_tokens": ANSWER_TOKENS,
    }
    headers = {"Authorization": f"Bearer {api_key}"}
    try:
        response = httpx.post(
            f"{endpoint.url}/chat/completions", json=request, headers=headers, timeout=max(QUICK_S, timeout_s)
        )
    except httpx.HTTPError:
        return None
    if response.is_client_error:
        raise Failure(
            f"{endpoint.url} refused the readiness question ({response.status_code}): {response.text[:500]}",
            "see drydock:model.name, the model's chat template and drydock:serving.extraArgs",
        )
    if not response.is_success:
        return None
    answer = str(response.json()["choices"][0]["message"]["content"] or "")
    if spec.readiness.answer not in answer:
        raise Failure(
            f"{spec.model} answers {spec.readiness.prompt!r} with {answer!r}, which does not contain "
            f"{spec.readiness.answer!r}",
            "wrong weights, a wrong chat template, or drydock:serving.readiness is not for this model",
        )
    return answer
