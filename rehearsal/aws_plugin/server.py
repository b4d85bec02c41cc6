"""The plugin's gRPC face: Pulumi's messages in, the engine's answers out, each request in its own thread."""

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import grpc  # type: ignore[import-untyped]
from google.protobuf import any_pb2, empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)

from rehearsal.aws_plugin import VERSION
from rehearsal.aws_plugin.compare import How
from rehearsal.aws_plugin.configure import config_misfits, settings_of
from rehearsal.aws_plugin.engine import Diff, Engine
from rehearsal.aws_plugin.problems import HalfMade, Refused
from rehearsal.aws_plugin.values import from_struct, to_struct

_MESSAGE_BYTES: Final = 400 * 1024 * 1024
_OPTIONS: Final = (
    ("grpc.max_receive_message_length", _MESSAGE_BYTES),
    ("grpc.max_send_message_length", _MESSAGE_BYTES),
)
_AT_ONCE: Final = 256
"""Requests served at once; Pulumi's own limit is far lower."""

_Kind = provider_pb2.PropertyDiff
_KINDS: Final = {
    (How.ADD, False): _Kind.ADD,
    (How.ADD, True): _Kind.ADD_REPLACE,
    (How.DELETE, False): _Kind.DELETE,
    (How.DELETE, True): _Kind.DELETE_REPLACE,
    (How.UPDATE, False): _Kind.UPDATE,
    (How.UPDATE, True): _Kind.UPDATE_REPLACE,
}


def _failures(found: Iterable[tuple[str, str]]) -> list[provider_pb2.CheckFailure]:
    return [provider_pb2.CheckFailure(property=path, reason=reason) for path, reason in found]


def _answered(method: Callable[..., Any]) -> Callable[..., Any]:
    """Makes of a refusal the status that Pulumi shows; of anything else, one that names it."""

    def answer(self: "Servicer", request: Any, context: Any) -> Any:
        try:
            return method(self, request)
        except HalfMade as made:
            detail = provider_pb2.ErrorResourceInitFailed(
                id=made.resource_id, properties=to_struct(made.state), reasons=[made.reason]
            )
            packed = any_pb2.Any()
            packed.Pack(detail)
            status = status_pb2.Status(code=2, message=made.reason, details=[packed])
            context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
            context.abort(grpc.StatusCode.UNKNOWN, made.reason)
        except Refused as refusal:
            context.abort(grpc.StatusCode.UNKNOWN, str(refusal))

    return answer


class Servicer(provider_pb2_grpc.ResourceProviderServicer):
    """`ResourceProvider` of the package `aws`."""

    def __init__(self, engine_address: str | None) -> None:
        self._engine: Engine | None = None
        channel = grpc.insecure_channel(engine_address) if engine_address else None
        self._log = engine_pb2_grpc.EngineStub(channel) if channel else None

    def _say(self, urn: str, text: str) -> None:
        if self._log:
            severity = engine_pb2.LogSeverity.INFO
            # Not waited for: a display that is gone must not end the work.
            self._log.Log.future(
                engine_pb2.LogRequest(severity=severity, message=text, urn=urn, ephemeral=True)
            )

    @property
    def _configured(self) -> Engine:
        if self._engine is None:
            raise Refused("the aws stand-in was asked to work before it was configured")
        return self._engine

    @_answered
    def GetPluginInfo(self, _request: Any) -> Any:  # noqa: N802 - the protocol's name, as all below
        return plugin_pb2.PluginInfo(version=VERSION)

    @_answered
    def GetSchema(self, _request: Any) -> Any:  # noqa: N802
        return provider_pb2.GetSchemaResponse(schema="{}")

    @_answered
    def CheckConfig(self, request: Any) -> Any:  # noqa: N802
        failures = _failures(config_misfits(from_struct(request.news)))
        return provider_pb2.CheckResponse(inputs=request.news, failures=failures)

    @_answered
    def DiffConfig(self, request: Any) -> Any:  # noqa: N802
        old, new = from_struct(request.old_inputs), from_struct(request.news)
        changed = sorted(key for key in old.keys() | new.keys() if old.get(key) != new.get(key))
        some = provider_pb2.DiffResponse.DIFF_SOME if changed else provider_pb2.DiffResponse.DIFF_NONE
        return provider_pb2.DiffResponse(changes=some, diffs=changed)

    @_answered
    def Configure(self, request: Any) -> Any:  # noqa: N802
        self._engine = Engine(settings_of(from_struct(request.args)), self._say)
        # Pulumi's first checks need no client; the first create finds them ready.
        threading.Thread(target=self._engine.warm_up, daemon=True).start()
        # Secrets come opened, and Pulumi marks the outputs of secret inputs by itself.
        return provider_pb2.ConfigureResponse(supportsPreview=True, acceptSecrets=False)

    @_answered
    def Check(self, request: Any) -> Any:  # noqa: N802
        inputs, failures = self._configured.check(
            request.urn, from_struct(request.olds), from_struct(request.news), request.randomSeed
        )
        return provider_pb2.CheckResponse(inputs=to_struct(inputs), failures=_failures(failures))

    @_answered
    def Diff(self, request: Any) -> Any:  # noqa: N802
        found = self._configured.diff(
            request.urn,
            request.id,
            from_struct(request.olds),
            from_struct(request.old_inputs),
            from_struct(request.news),
        )
        return _diff_response(found)

    @_answered
    def Create(self, request: Any) -> Any:  # noqa: N802
        inputs = from_struct(request.properties)
        if request.preview:
            planned = self._configured.planned(request.urn, inputs)
            return provider_pb2.CreateResponse(properties=to_struct(planned))
        resource_id, state = self._configured.create(request.urn, inputs)
        return provider_pb2.CreateResponse(id=resource_id, properties=to_struct(state))

    @_answered
    def Read(self, request: Any) -> Any:  # noqa: N802
        found = self._configured.read(
            request.urn, request.id, from_struct(request.properties), from_struct(request.inputs)
        )
        return provider_pb2.ReadResponse(
            id=found.resource_id, properties=to_struct(found.state), inputs=to_struct(found.inputs)
        )

    @_answered
    def Update(self, request: Any) -> Any:  # noqa: N802
        state, new = from_struct(request.olds), from_struct(request.news)
        if request.preview:
            planned = self._configured.planned_update(request.urn, state, new)
            return provider_pb2.UpdateResponse(properties=to_struct(planned))
        old = from_struct(request.old_inputs)
        return provider_pb2.UpdateResponse(
            properties=to_struct(self._configured.update(request.urn, request.id, state, old, new))
        )

    @_answered
    def Delete(self, request: Any) -> Any:  # noqa: N802
        self._configured.delete(request.urn, request.id, from_struct(request.properties))
        return empty_pb2.Empty()

    @_answered
    def Invoke(self, request: Any) -> Any:  # noqa: N802
        answer, failures = self._configured.invoke(request.tok, from_struct(request.args))
        return provider_pb2.InvokeResponse(**{"return": to_struct(answer)}, failures=_failures(failures))

    @_answered
    def Cancel(self, _request: Any) -> Any:  # noqa: N802
        if self._engine:
            self._engine.cancel()
        return empty_pb2.Empty()

    @_answered
    def Attach(self, _request: Any) -> Any:  # noqa: N802
        return empty_pb2.Empty()


def _diff_response(found: Diff) -> Any:
    tops = list(dict.fromkeys(one.top for one in found.differences))
    return provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if tops else provider_pb2.DiffResponse.DIFF_NONE,
        diffs=tops,
        replaces=list(dict.fromkeys(one.top for one in found.differences if one.replace)),
        detailedDiff={
            one.path: provider_pb2.PropertyDiff(kind=_KINDS[one.how, one.replace], inputDiff=True)
            for one in found.differences
        },
        hasDetailedDiff=True,
        deleteBeforeReplace=found.delete_first,
    )


def serve(engine_address: str | None) -> tuple[Any, int]:
    """A started server on loopback, and its port."""
    server = grpc.server(ThreadPoolExecutor(max_workers=_AT_ONCE), options=_OPTIONS)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Servicer(engine_address), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port
