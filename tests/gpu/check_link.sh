#!/usr/bin/env bash
# Rung 5: build the CUDA half against a CUDA build of torch, in an environment of its own that is removed afterwards
# (about 10 GB while it lasts), and import it with all of its symbols bound. Needs nvcc; no GPU.
set -euo pipefail
cd "$(dirname "$0")/../.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cp -r _build benchmarks csrc kernels pyagent pyproject.toml setup.py README.md LICENSE "$folder"
find "$folder" -name '*.so' -delete # built against another torch
"${PYTHON:-python3}" -m venv "$folder/env"
python=$folder/env/bin/python
"$python" -m pip install -q --disable-pip-version-check --no-cache-dir --no-compile \
  'torch==2.14.1' numpy 'setuptools>=77' 'pybind11>=2.13'
cd "$folder"
"$python" setup.py -q build_ext --inplace
LD_BIND_NOW=1 "$python" - <<'PROGRAM'
import torch
import pyagent.ops
from pyagent import native

assert torch.version.cuda, f"torch {torch.__version__} is not a CUDA build"
assert native.cuda is not None, native.cuda_missing_because
ops = [name for name in torch._C._dispatch_get_registrations_for_dispatch_key("CUDA") if name.startswith("pyagent::")]
assert ops, "no op of pyagent is registered for CUDA"
print(f"gpu-link: {len(ops)} CUDA ops registered with torch {torch.__version__} (CUDA {torch.version.cuda})")
PROGRAM
