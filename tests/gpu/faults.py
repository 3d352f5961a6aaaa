"""Faults that the ladder has to find: each is planted in a kernel, and then a test of it has to fail."""

from dataclasses import dataclass

ADDRESS, THREAD = "address,undefined", "thread"

# How a fault is found: the sanitizer, None for the plain emulation, and what the failing test prints.
RACE = THREAD, "ThreadSanitizer: data race"
OVERRUN = ADDRESS, "AddressSanitizer: heap-buffer-overflow"
STRAY = ADDRESS, "AddressSanitizer"
BAD_INDEX = ADDRESS, "runtime error: index"
WRONG_RESULT = None, "AssertionError"


@dataclass
class Fault:
    """In `file`, `text` becomes `other`. `text` has to occur once, so that no fault outlives what it was planted in."""

    name: str
    found_by: tuple
    module: str
    test: str
    file: str
    text: str
    other: str


FAULTS = [
    Fault(
        "missing barrier between registration and reading",
        RACE,
        "test_q_update.py",
        "test_is_the_loop",
        "q_update.cu",
        "      __syncthreads();\n",
        "",
    ),
    Fault(
        "registration that is not atomic",
        RACE,
        "test_q_update.py",
        "test_is_the_loop",
        "q_update.cu",
        "atomicMin(&first_reader[next_state], turn);",
        "first_reader[next_state] = min(first_reader[next_state], turn);",
    ),
    Fault(
        "updates that do not wait for earlier readers",
        RACE,
        "test_q_update.py",
        "test_is_the_loop",
        "q_update.cu",
        " && first_reader[state] >= turn",
        "",
    ),
    Fault(
        "one update too many",
        OVERRUN,
        "test_q_update.py",
        "test_is_the_loop",
        "q_update.cu",
        "bool waits = i < x.N;",
        "bool waits = i <= x.N;",
    ),
    Fault(
        "next states that are not checked",
        STRAY,
        "test_q_update.py",
        "test_a_bad_index_changes_nothing",
        "q_update.cu",
        " && below(x.next_state[i], x.S)",
        "",
    ),
    Fault(
        "fused multiply-add",
        WRONG_RESULT,
        "test_q_update.py",
        "test_is_the_loop",
        "q_update.cu",
        "*cell = add(*cell, multiply(alpha, subtract(target, *cell)));",
        "*cell = fma(alpha, subtract(target, *cell), *cell);",
    ),
    Fault(
        "missing barrier before a block arrives",
        RACE,
        "test_recurrence.py",
        "test_any_schedule",
        "recurrence_block.h",
        "    __syncthreads();\n    if (members == 1) return;",
        "    if (members == 1) return;",
    ),
    Fault(
        "missing fence before a block arrives",
        RACE,
        "test_recurrence.py",
        "test_any_schedule",
        "recurrence_block.h",
        "    __threadfence();\n    atomicAdd(counter, 1u);",
        "    atomicAdd(counter, 1u);",
    ),
    Fault(
        "arrival that is not atomic",
        RACE,
        "test_recurrence.py",
        "test_any_schedule",
        "recurrence_block.h",
        "    atomicAdd(counter, 1u);",
        "    *counter += 1;",
    ),
    Fault(
        "cluster that does not wait",
        RACE,
        "test_recurrence.py",
        "test_any_schedule and cluster",
        "recurrence_block.h",
        "    if (kInCluster) return wait_for_cluster();",
        "    if (kInCluster) return;",
    ),
    Fault(
        "missing wait for a chunk",
        WRONG_RESULT,
        "test_recurrence.py",
        "test_any_schedule and chunks",
        "recurrence_block.h",
        "        __pipeline_wait_prior(1);",
        "",
    ),
    Fault(
        "one unit too many",
        OVERRUN,
        "test_recurrence.py",
        "test_any_schedule",
        "recurrence_block.h",
        "if (b < B && u < H) f(",
        "if (b < B && u <= H) f(",
    ),
    Fault(
        "one segment too many",
        OVERRUN,
        "test_segment_sum.py",
        "test_float32",
        "segment_sum.cu",
        "r >= x.R ||",
        "r > x.R ||",
    ),
    Fault(
        "long runs that reach into the next segment",
        WRONG_RESULT,
        "test_segment_sum.py",
        "test_float32",
        "segment_sum.cu",
        "k % kLongRun == 0 && k + kLongRun <= end",
        "k % kLongRun == 0 && k + 1 <= end",
    ),
    Fault(
        "missing fence before the arrival",
        RACE,
        "test_constructs.py",
        "test_blocks_wait_for_each_other",
        "constructs.cu",
        "    __threadfence();\n    atomicAdd(arrived, 1u);",
        "    atomicAdd(arrived, 1u);",
    ),
    Fault(
        "missing barrier before the arrival",
        RACE,
        "test_constructs.py",
        "test_blocks_wait_for_each_other",
        "constructs.cu",
        "  __syncthreads();\n  if (threadIdx.x == 0) {",
        "  if (threadIdx.x == 0) {",
    ),
    Fault(
        "sum that is not atomic",
        RACE,
        "test_constructs.py",
        "test_blocks_add_to_one_place",
        "constructs.cu",
        "atomicAdd(total, sum)",
        "*total += sum",
    ),
    Fault(
        "out of bounds in shared memory",
        BAD_INDEX,
        "test_constructs.py",
        "test_a_block_exchanges_through_shared_memory",
        "constructs.cu",
        "held[kThreads - 1 - i]",
        "held[kThreads - i]",
    ),
    Fault(
        "missing wait for a copy",
        WRONG_RESULT,
        "test_constructs.py",
        "test_asynchronous_copies",
        "constructs.cu",
        "    __pipeline_wait_prior(1);\n",
        "",
    ),
]
