"""Serve `LanguageRuntime` to the engine: print the port, answer, run the program in this process.

The official host starts a second interpreter for the program; this one runs the program itself, which the
engine cannot tell apart and which saves an interpreter's start.
"""

import importlib.metadata
import os
import runpy
import signal
import sys
from concurrent import futures
from pathlib import Path
from threading import Event

import grpc  # type: ignore[import-untyped]
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.automation._server import LanguageServer
from pulumi.runtime._grpc_settings import _GRPC_CHANNEL_OPTIONS
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2


def entry_file(program: Path) -> Path:
    """The file that `python PROGRAM` would run: the program itself, or a folder's `__main__.py`."""
    return program / "__main__.py" if program.is_dir() else program


def _run(program: Path) -> None:
    runpy.run_path(str(program), run_name="__main__")


class LanguageHost(LanguageServer):
    """The automation API's own server, with the program taken from the engine's request."""

    def __init__(self, engine_address: str) -> None:
        super().__init__(program=lambda: None)
        self._engine_address = engine_address

    def Run(self, request, context):  # type: ignore[no-untyped-def]  # noqa: N802 - gRPC's name
        program = entry_file(Path(request.info.program_directory) / request.info.entry_point)
        os.chdir(request.pwd)
        sys.path.insert(0, str(program.parent))
        self.program = lambda: _run(program)
        request.args[:] = [self._engine_address]
        response = super().Run(request, context)  # type: ignore[no-untyped-call]
        if response.error:  # logged already; bail says so, else the engine prints it a second time
            response.error, response.bail = "", True
        return response

    def GetPluginInfo(self, request, context):  # type: ignore[no-untyped-def]  # noqa: ARG002, N802 - gRPC's name
        return plugin_pb2.PluginInfo(version=importlib.metadata.version("pulumi"))

    def InstallDependencies(self, request, context):  # type: ignore[no-untyped-def]  # noqa: ARG002, N802 - gRPC's name
        yield language_pb2.InstallDependenciesResponse(
            stderr=b"The environment is made by scripts/setup; nothing to install here.\n"
        )

    def RuntimeOptionsPrompts(self, request, context):  # type: ignore[no-untyped-def]  # noqa: ARG002, N802 - gRPC's name
        return language_pb2.RuntimeOptionsResponse()

    def Cancel(self, request, context):  # type: ignore[no-untyped-def]  # noqa: ARG002, N802 - gRPC's name
        return empty_pb2.Empty()


def main() -> None:
    """Serve until the engine ends this process."""
    engine_address = sys.argv[-1] if len(sys.argv) > 1 else ""
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=8), options=_GRPC_CHANNEL_OPTIONS)
    language_pb2_grpc.add_LanguageRuntimeServicer_to_server(LanguageHost(engine_address), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    parent, stopped = os.getppid(), Event()
    # Plugins have a process group of their own: it is Pulumi that sends SIGINT, once it needs them no more.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    while not stopped.wait(1.0) and os.getppid() == parent:
        pass  # a killed engine leaves no host behind
    server.stop(grace=None)
    os._exit(0)  # a program that still waits for the engine must not keep the process


if __name__ == "__main__":
    main()
