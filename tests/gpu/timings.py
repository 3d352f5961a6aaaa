"""How long the launchers take on this machine's GPU, as a Markdown table. The sizes are those of docs/gpu.md."""

import sys

import numpy as np

from tests.gpu import recurrence_launch, test_q_update, test_segment_sum
from tests.gpu.bf16 import bf16_bits
from tests.gpu.devices import Cuda


def q_update_cases(device):
    for N, S, A in [(4096, 64, 4), (4096, 100_000, 4), (65536, 1_000_000, 8)]:
        batch = test_q_update.random_batch(N, S, A, np.float32)
        yield f"N={N} S={S} A={A} float32", test_q_update.prepared(device, **batch)


def segment_sum_cases(device):
    random = np.random.default_rng(0)
    for N, R, C in [(8192, 1000, 512), (8192, 50_000, 2048), (65536, 1000, 2048)]:
        x = random.normal(size=(N, C)).astype(np.float32)
        index = np.minimum(random.zipf(1.3, N) - 1, R - 1)  # as words are
        for name, values in (("float32", x), ("bfloat16", bf16_bits(x))):
            yield f"N={N} R={R} C={C} {name}", test_segment_sum.prepared(device, values, index, R)


RECURRENCES = [(32, 64, 256), (64, 32, 512), (256, 64, 1024)]
"""B, T, H"""


def recurrence_cases(device):
    for B, T, H in RECURRENCES:
        for dtype in ("float32", "bfloat16"):
            case = recurrence_launch.Case("lstm", dtype, T, B, H, given=frozenset(["row_index", "grad_output"]))
            for launcher, arguments, *buffers in recurrence_launch.prepared(device, case):
                yield f"B={B} T={T} H={H} {dtype}", (launcher, arguments, buffers)


CASES = {
    ("q_update.cu",): q_update_cases,
    ("segment_sum.cu",): segment_sum_cases,
    tuple(recurrence_launch.LAUNCHERS): recurrence_cases,
}


def main():
    sys.stdout.write("| launcher | sizes | µs |\n|---|---|--:|\n")
    for sources, cases in CASES.items():
        device = Cuda(sources)
        for sizes, (launcher, arguments, buffers) in cases(device):
            microseconds = device.time(launcher, arguments)
            sys.stdout.write(f"| {launcher} | {sizes} | {microseconds:.1f} |\n")
            del buffers  # alive until here: the arguments only have their addresses


if __name__ == "__main__":
    main()
