"""Pulumi's provider plugin ``drydock``: each of the engine's calls in a thread of its own."""

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, TypeVar

import grpc  # type: ignore[import-untyped]
from botocore.exceptions import BotoCoreError, ClientError
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import engine_pb2, engine_pb2_grpc, plugin_pb2, provider_pb2, provider_pb2_grpc

from ansible_like.result import EngineError
from bootstrap.properties import from_struct, to_struct
from bootstrap.resources.credentials import Credentials
from bootstrap.resources.node import Node
from bootstrap.resources.replica import Replica
from bootstrap.resources.resource import Resource, Values
from bootstrap.resources.weights import Weights
from bootstrap.work import Work
from cluster.problems import BadInput, Failure

VERSION = "0.1.0"
THREADS = 256  # one for each resource at work: they wait for hosts, not for this machine
MESSAGE_BYTES_MAX = 400 << 20  # as the engine's own limit
WITHOUT_DEADLINE_S = 3600.0

T = TypeVar("T")

RESOURCES: dict[str, Resource] = {
    "drydock:index:Credentials": Credentials(),
    "drydock:index:Weights": Weights(),
    "drydock:index:Node": Node(),
    "drydock:index:Replica": Replica(),
}


class Provider(provider_pb2_grpc.ResourceProviderServicer):
    """The engine's side of Drydock's resources."""

    def __init__(self, engine: engine_pb2_grpc.EngineStub) -> None:
        self._engine = engine
        self._cancelled = threading.Event()

    # ---- about the plugin

    def GetPluginInfo(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802
        return plugin_pb2.PluginInfo(version=VERSION)

    def GetSchema(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802
        return provider_pb2.GetSchemaResponse(schema=f'{{"name": "drydock", "version": "{VERSION}"}}')

    def CheckConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802
        return provider_pb2.CheckResponse(inputs=request.news)

    def DiffConfig(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802
        return provider_pb2.DiffResponse(changes=provider_pb2.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802
        return provider_pb2.ConfigureResponse(acceptSecrets=True, supportsPreview=True)

    def Cancel(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: ARG002, N802
        self._cancelled.set()
        return empty_pb2.Empty()

    # ---- resources

    def Check(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        resource = _resource(request.urn, context)
        inputs, refused = _guarded(context, lambda: resource.check(from_struct(request.news)))
        failures = [provider_pb2.CheckFailure(property=each.property, reason=each.reason) for each in refused]
        return provider_pb2.CheckResponse(inputs=to_struct(inputs, resource.secrets), failures=failures)

    def Diff(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        resource = _resource(request.urn, context)
        state, inputs = from_struct(request.olds), from_struct(request.news)
        found = _guarded(context, lambda: resource.difference(state, inputs))
        kinds, none = provider_pb2.PropertyDiff, provider_pb2.DiffResponse.DIFF_NONE
        detail = {
            name: kinds(kind=kinds.UPDATE_REPLACE if name in found.replaces else kinds.UPDATE)
            for name in found.changed
        }
        return provider_pb2.DiffResponse(
            changes=provider_pb2.DiffResponse.DIFF_SOME if found.changed else none,
            replaces=found.replaces,
            diffs=found.changed,
            detailedDiff=detail,
            hasDetailedDiff=True,
        )

    def Create(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        resource, inputs = _resource(request.urn, context), from_struct(request.properties)
        if request.preview:
            planned = _guarded(context, lambda: resource.planned(inputs, None))
            return provider_pb2.CreateResponse(properties=to_struct(planned, resource.secrets))
        work = self._work(request.urn, inputs)
        identity, outputs = _guarded(context, lambda: resource.create(inputs, work))
        return provider_pb2.CreateResponse(id=identity, properties=to_struct(outputs, resource.secrets))

    def Update(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        resource = _resource(request.urn, context)
        state, inputs = from_struct(request.olds), from_struct(request.news)
        if request.preview:
            outputs = _guarded(context, lambda: resource.planned(inputs, state))
        else:
            work = self._work(request.urn, inputs)
            outputs = _guarded(context, lambda: resource.update(state, inputs, work))
        return provider_pb2.UpdateResponse(properties=to_struct(outputs, resource.secrets))

    def Read(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        resource = _resource(request.urn, context)
        if not request.properties.fields:
            _abort(context, "Drydock's resources live in the stack's state: they cannot be imported")
        found = _guarded(context, lambda: resource.read(from_struct(request.properties)))
        if found is None:
            return provider_pb2.ReadResponse()
        properties = to_struct(found, resource.secrets)
        return provider_pb2.ReadResponse(id=request.id, properties=properties, inputs=request.inputs)

    def Delete(self, request: Any, context: grpc.ServicerContext) -> Any:  # noqa: N802
        resource, state = _resource(request.urn, context), from_struct(request.properties)
        work = self._work(request.urn, state)
        _guarded(context, lambda: resource.delete(state, work))
        return empty_pb2.Empty()

    def _work(self, urn: str, values: Values) -> Work:
        def say(text: str) -> None:
            # Progress is a courtesy: an engine that does not listen must not fail the work.
            with contextlib.suppress(grpc.RpcError):
                self._engine.Log(
                    engine_pb2.LogRequest(
                        severity=engine_pb2.INFO, message=text, urn=urn, ephemeral=True, streamId=0
                    )
                )

        return Work(say, float(values.get("deadlineS", WITHOUT_DEADLINE_S)), self._cancelled)


def _resource(urn: str, context: grpc.ServicerContext) -> Resource:
    kind = urn.split("::")[2].rsplit("$", maxsplit=1)[-1]
    if kind not in RESOURCES:
        _abort(context, f"{kind} is no resource of Drydock's; there are {', '.join(RESOURCES)}")
    return RESOURCES[kind]


def _guarded(context: grpc.ServicerContext, work: Callable[[], T]) -> T:
    """What ``work`` returns; an error that it knows how to tell becomes the resource's message."""
    try:
        return work()
    except (Failure, BadInput, EngineError) as error:
        _abort(context, str(error))
    except (BotoCoreError, ClientError) as error:
        _abort(context, f"AWS refused or was not reached: {error}")


def _abort(context: grpc.ServicerContext, text: str) -> NoReturn:
    context.abort(grpc.StatusCode.UNKNOWN, text)
    raise AssertionError("abort raises")


def end_with_parent() -> None:
    """Ends this process when the engine that started it is gone, e.g. killed: nobody would end it else."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def main(argv: list[str]) -> None:
    """Serves on a free port of the loopback and prints it, as the engine expects of a plugin."""
    addresses = [word for word in argv if not word.startswith("-")]
    if not addresses:
        sys.exit("pulumi-resource-drydock is started by Pulumi, with the address of its engine")
    # Plugins have a process group of their own: it is Pulumi that sends SIGINT, once it needs them no more.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda _signal, _frame: os._exit(0))
    end_with_parent()
    options = [("grpc.max_receive_message_length", MESSAGE_BYTES_MAX)]
    engine = engine_pb2_grpc.EngineStub(grpc.insecure_channel(addresses[0], options))
    server = grpc.server(ThreadPoolExecutor(THREADS), options=options)
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(Provider(engine), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    server.wait_for_termination()


if __name__ == "__main__":
    main(sys.argv[1:])
