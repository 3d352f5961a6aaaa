#!/usr/bin/env bash
# Build a wheel here, install it into a fresh environment where no compiler can be found, and run it there as three
# CPUs: this one, an AVX2 one without AVX-512, and one from before AVX. Needs `make install` and qemu-user.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

PYAGENT_CUDA=0 .venv/bin/python -m pip wheel -q --no-deps --no-build-isolation -w "$folder" .
wheel=$(echo "$folder"/*.whl)
echo "$(basename "$wheel"): $(du -k "$wheel" | cut -f1) kB"

# The environment borrows torch and numpy from .venv (same versions, gigabytes not copied), and nothing else.
.venv/bin/python -m venv "$folder/env"
packages=$(echo "$folder"/env/lib/python*/site-packages)
installed=$(echo .venv/lib/python*/site-packages)
env PATH=/nowhere "$folder/env/bin/python" -m pip install -q --no-deps "$wheel"
for name in torch torchgen torch-*.dist-info functorch numpy numpy.libs numpy-*.dist-info typing_extensions.py sympy mpmath \
            networkx jinja2 markupsafe fsspec filelock; do
  for path in "$installed"/$name; do [ ! -e "$path" ] || ln -s "$PWD/$path" "$packages/"; done
done

cat >"$folder/check.py" <<'PROGRAM'
import sys
import torch
from pyagent import native
from pyagent.ops.gae import gae, gae_reference
inputs = torch.randn(9, 5), torch.rand(9, 5), torch.randn(10, 5)
torch.testing.assert_close(gae(*inputs, 0.9), gae_reference(*inputs, 0.9))
print(f"{sys.argv[1]}: runs {native.isa()}, has {', '.join(native.supported_isas())}")
assert sys.argv[2] in (native.isa(), "any"), f"expected {sys.argv[2]}"
PROGRAM

cd "$folder"
export OMP_NUM_THREADS=1
env/bin/python check.py "this CPU" any
if [ "$(uname -m)" = x86_64 ]; then
  qemu-x86_64 -cpu Haswell-noTSX env/bin/python check.py "AVX2 CPU" avx2
  qemu-x86_64 -cpu Nehalem-v2 env/bin/python check.py "pre-AVX CPU" baseline
fi
