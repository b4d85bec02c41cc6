"""The stand-in language host, spoken to as the engine does: over gRPC, as a process of its own."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import grpc  # type: ignore[import-untyped]
import pytest
from google.protobuf import empty_pb2  # type: ignore[import-untyped]
from pulumi.runtime.proto import language_pb2, language_pb2_grpc, plugin_pb2

from rehearsal import paths
from rehearsal.language_host.__main__ import entry_file

LAUNCHER = paths.REPO / "rehearsal" / "language_host" / "bin" / "pulumi-language-python"


@pytest.fixture
def host() -> Iterator[language_pb2_grpc.LanguageRuntimeStub]:
    with subprocess.Popen([LAUNCHER, "127.0.0.1:1"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield language_pb2_grpc.LanguageRuntimeStub(channel)
        process.terminate()
    assert process.returncode in {0, -15}


def test_a_folder_is_entered_by_its_main(tmp_path: Path) -> None:
    (tmp_path / "infra").mkdir()
    assert entry_file(tmp_path / "infra") == tmp_path / "infra" / "__main__.py"
    assert entry_file(tmp_path / "program.py") == tmp_path / "program.py"


def test_it_says_who_it_is(host: language_pb2_grpc.LanguageRuntimeStub) -> None:
    info: plugin_pb2.PluginInfo = host.GetPluginInfo(empty_pb2.Empty())
    assert info.version.startswith("3.")
    assert "python" in host.About(language_pb2.AboutRequest()).executable
