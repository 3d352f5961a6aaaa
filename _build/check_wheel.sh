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

# The environment borrows torch and numpy from .venv instead of copying gigabytes. Path files of a borrowed folder are
# not read, so the editable pyagent there stays unseen.
.venv/bin/python -m venv "$folder/env"
env PATH=/nowhere "$folder/env/bin/python" -m pip install -q --no-deps "$wheel"
.venv/bin/python -c 'import sysconfig; print(sysconfig.get_path("platlib"))' >"$(echo "$folder"/env/lib/python*/site-packages)/borrowed.pth"

cat >"$folder/check.py" <<'PROGRAM'
import sys
import torch
import pyagent
from pyagent import native
from pyagent.ops.gae import gae, gae_reference
steps = torch.randn(9, 5), torch.rand(9, 5), torch.randn(10, 5)
assert pyagent.__file__.startswith(sys.prefix), pyagent.__file__
torch.testing.assert_close(gae(*steps, 0.9), gae_reference(*steps, 0.9))
theirs, inputs = torch.nn.GRU(11, 19), torch.randn(6, 3, 11)
ours = pyagent.nn.GRU(11, 19)
ours.load_state_dict(theirs.state_dict())
for module in (theirs, ours):
    module(inputs)[0].square().sum().backward()
torch.testing.assert_close(ours(inputs), theirs(inputs))
torch.testing.assert_close([p.grad for p in ours.parameters()], [p.grad for p in theirs.parameters()])
print(f"{sys.argv[1]}: runs {native.isa()}, has {', '.join(native.supported_isas())}")
assert sys.argv[2] in (native.isa(), "any"), f"expected {sys.argv[2]}"
PROGRAM

cd "$folder"
export OMP_NUM_THREADS=1
unset OPENBLAS_CORETYPE # a CPU that numpy is told of holds for none of the emulated ones
env/bin/python check.py "this CPU" any
if [ "$(uname -m)" = x86_64 ]; then
  # qemu warns of features that it does not emulate and that nothing here uses.
  qemu-x86_64 -cpu Haswell-noTSX env/bin/python check.py "AVX2 CPU" avx2 2>avx2.log &
  avx2=$!
  qemu-x86_64 -cpu Nehalem-v2 env/bin/python check.py "pre-AVX CPU" baseline || exit 1
  wait $avx2 || { cat avx2.log; exit 1; }
fi
