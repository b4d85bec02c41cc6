"""The way to AWS: clients, who we are, and waiting that a cancel ends."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from rehearsal.aws_plugin.problems import REAL_PLUGIN, Refused

if TYPE_CHECKING:
    from mypy_boto3_ec2 import EC2Client
    from mypy_boto3_iam import IAMClient
    from mypy_boto3_s3 import S3Client
    from mypy_boto3_ssm import SSMClient
    from mypy_boto3_sts import STSClient

T = TypeVar("T")
Say = Callable[[str], None]
"""Shows one line beside the resource in Pulumi's display."""


@dataclass(frozen=True)
class Settings:
    """The provider's configuration."""

    region: str
    profile: str | None = None
    access_key: str | None = None
    secret_key: str | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    endpoints: Mapping[str, str] = field(default_factory=dict)
    """Service → URL; a service that is not named is at AWS_ENDPOINT_URL."""
    default_tags: Mapping[str, str] = field(default_factory=dict)


class NotYet(Exception):  # noqa: N818 - no error: the state waited for hasn't come
    """The state waited for has not come; the text says how it stands."""


def local_endpoint(settings: Settings, service: str) -> str:
    """The URL of the service's local API. Raises Refused where there is none: that would be AWS itself."""
    named = (settings.endpoints.get(service), os.environ.get(f"AWS_ENDPOINT_URL_{service.upper()}"))
    url = next(filter(None, [*named, os.environ.get("AWS_ENDPOINT_URL")]), "")
    host = urlsplit(url).hostname or ""
    if not host or host.endswith(".amazonaws.com"):
        raise Refused(
            "the rehearsal's aws stand-in speaks only to a local cloud, and "
            f"{'AWS_ENDPOINT_URL names none' if not host else f'{host} is none'} for {service}\n"
            '    → for the rehearsal: eval "$(drydock rehearsal env)"\n'
            f"    → for AWS itself: {REAL_PLUGIN}"
        )
    return url


class Clients:
    """boto3's clients, one per service and region, made once and shared by all threads."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str], Any] = {}

    @cached_property
    def _session(self) -> Any:
        import boto3  # noqa: PLC0415 - half of the start-up time, spent while Pulumi already talks to us

        settings = self.settings
        return boto3.session.Session(
            profile_name=settings.profile,
            aws_access_key_id=settings.access_key,
            aws_secret_access_key=settings.secret_key,
            aws_session_token=settings.token,
        )

    def get(self, service: str, region: str) -> Any:
        """The client; a session builds only one at a time."""
        with self._lock:
            if (service, region) not in self._made:
                from botocore.config import Config  # noqa: PLC0415 - as above

                self._made[service, region] = self._session.client(
                    service,
                    region_name=region,
                    endpoint_url=local_endpoint(self.settings, service),
                    config=Config(
                        connect_timeout=5,
                        max_pool_connections=64,
                        retries={"mode": "standard", "total_max_attempts": 4},
                        s3={"addressing_style": "path"},  # a bucket's own host name needs a DNS that knows it
                    ),
                )
            return self._made[service, region]

    @cached_property
    def account_id(self) -> str:
        """The account that pays."""
        return str(self.get("sts", self.settings.region).get_caller_identity()["Account"])


@dataclass(frozen=True)
class Aws:
    """AWS as one request sees it: a region, a line to the user, and the signal to stop."""

    clients: Clients
    region: str
    stop: threading.Event
    say: Say

    @property
    def ec2(self) -> EC2Client:
        client: EC2Client = self.clients.get("ec2", self.region)
        return client

    @property
    def iam(self) -> IAMClient:
        client: IAMClient = self.clients.get("iam", self.region)
        return client

    @property
    def s3(self) -> S3Client:
        client: S3Client = self.clients.get("s3", self.region)
        return client

    @property
    def ssm(self) -> SSMClient:
        client: SSMClient = self.clients.get("ssm", self.region)
        return client

    @property
    def sts(self) -> STSClient:
        client: STSClient = self.clients.get("sts", self.region)
        return client

    def ec2_arn(self, resource: str, owner: str | None = None) -> str:
        """The ARN of an EC2 resource such as ``vpc/vpc-1``."""
        return f"arn:aws:ec2:{self.region}:{owner or self.clients.account_id}:{resource}"

    def until(self, attempt: Callable[[], T], *, deadline_s: float) -> T:
        """The first answer of ``attempt`` that is no NotYet, asked ever less often, 0.1 s to 3 s apart.

        Raises Refused at the deadline, with how it last stood, or at once when Pulumi cancels.
        """
        from tenacity import (  # noqa: PLC0415 - most runs wait for nothing
            RetryCallState,
            Retrying,
            retry_if_exception_type,
            sleep_using_event,
            stop_after_delay,
            stop_when_event_set,
            wait_exponential,
        )

        def show(state: RetryCallState) -> None:
            if state.outcome is not None and (state.seconds_since_start or 0) > 1:
                self.say(str(state.outcome.exception()))

        patience = Retrying(
            retry=retry_if_exception_type(NotYet),
            wait=wait_exponential(multiplier=0.1, max=3),
            stop=stop_after_delay(deadline_s) | stop_when_event_set(self.stop),
            sleep=sleep_using_event(self.stop),
            before_sleep=show,
            reraise=True,
        )
        try:
            return patience(attempt)
        except NotYet as state:
            if self.stop.is_set():
                raise Refused(f"cancelled while waiting: {state}") from None
            raise Refused(
                f"{state}, and that for {deadline_s:.0f} s\n"
                "    → see what holds it, then run again: what was made is remembered"
            ) from None
