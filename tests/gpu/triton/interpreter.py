"""Triton's interpreter, made stricter and more like a GPU. Importing this needs TRITON_INTERPRET=1.

An access outside of the kernel's arguments is an IndexError; two programs that touch a place which one of them writes
without an atomic are a RuntimeError. Numbers arrive as a GPU gets them: float32 and int32 unless annotated, so that a
float64 formula with a float32 number in it is found out. Scans combine in a tree, so that a combination that is not
associative shows. Products of bfloat16, which the interpreter gets wrong, are made in float32.
"""

import inspect

import numpy as np
import torch
import triton.language as tl
from triton.runtime import interpreter

assert interpreter.InterpretedFunction.__name__ == type(tl.sum).__name__, "TRITON_INTERPRET=1 before triton is imported"


class Accesses:
    """What one launch may touch, and what it has touched."""

    def __init__(self, tensors):
        spans = sorted((x.data_ptr(), x.data_ptr() + extent(x)) for x in tensors if x.numel())
        self.begins = np.array([begin for begin, _ in spans], np.int64)
        self.ends = np.maximum.accumulate(np.array([end for _, end in spans], np.int64)) if spans else self.begins
        self.log = []  # (kind, addresses, program)

    def add(self, kind, pointers, mask):
        size = max(1, pointers.get_element_ty().primitive_bitwidth // 8)
        wanted = np.broadcast_to(True if mask is None else mask.data, pointers.data.shape)
        addresses = pointers.data[wanted].astype(np.int64)
        span = np.searchsorted(self.begins, addresses, "right") - 1
        inside = span >= 0
        if self.ends.size:
            inside &= addresses + size <= self.ends[np.maximum(span, 0)]
        program = interpreter.interpreter_builder.grid_idx
        if not inside.all():
            raise IndexError(f"{kind}: {(~inside).sum()} of {addresses.size} places out of bounds in program {program}")
        self.log.append((kind, addresses, (program[0] << 32) + (program[1] << 16) + program[2]))

    def races(self):
        """How many accesses there are to a place that another program has written without an atomic."""
        written, writer = self._of("store")
        touched, toucher = self._of("store", "load", "atomic")
        order = np.argsort(written, kind="stable")
        written, writer = written[order], writer[order]
        first = np.searchsorted(written, touched, "left")
        last = np.searchsorted(written, touched, "right") - 1
        hit = first <= last
        first, last, toucher = first[hit], last[hit], toucher[hit]
        return int(((writer[first] != toucher) | (writer[last] != toucher)).sum())  # writers of a place are in order

    def _of(self, *kinds):
        found = [(places, np.full(places.size, program)) for kind, places, program in self.log if kind in kinds]
        return tuple(np.concatenate([x[i] for x in found] or [np.empty(0, np.int64)]) for i in range(2))


def extent(tensor):
    """Bytes from a tensor's first element to behind its last."""
    steps = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    return (steps + 1) * tensor.element_size()


_accesses = Accesses([])


def _checked(kind, name, mask_at):
    """The builder's method of this name, with its pointers, its first argument, looked at."""
    method = getattr(interpreter.InterpreterBuilder, name)

    def checked(self, *arguments):
        pointers = arguments[1] if kind == "atomic" else arguments[0]
        _accesses.add(kind, pointers, arguments[mask_at])
        return method(self, *arguments)

    setattr(interpreter.InterpreterBuilder, name, checked)


def _as_float32(operand):
    if operand.dtype.scalar != tl.bfloat16:
        return operand
    bits = operand.data.view(np.uint16).astype(np.uint32) << 16
    return interpreter.TensorHandle(bits.view(np.float32), tl.float32)


def _dot(self, a, b, *rest, method=interpreter.InterpreterBuilder.create_dot):
    return method(self, _as_float32(a), _as_float32(b), *rest)


def _assert(self, condition, message):
    assert condition.data.all(), message


def _tree_scan(self, inputs):
    """Every place takes in what stands 1, 2, 4, … before it."""
    values, dtypes = [x.handle.data for x in inputs], [x.dtype for x in inputs]
    length, distance = values[0].shape[self.axis], 1
    place = np.arange(length).reshape([-1 if axis == self.axis else 1 for axis in range(values[0].ndim)])
    while distance < length:
        earlier = map(self.to_tensor, (np.roll(v, distance, self.axis) for v in values), dtypes)
        combined = self.combine_fn.fn(*earlier, *map(self.to_tensor, values, dtypes))
        combined = combined if isinstance(combined, tuple) else (combined,)
        values = [np.where(place < distance, v, c.handle.data) for v, c in zip(values, combined, strict=True)]
        distance *= 2
    return list(map(self.to_tensor, values, dtypes))


_ANNOTATED = {
    "tl.float64": (tl.float64, np.float64),
    "tl.int64": (tl.int64, np.int64),
    "tl.int32": (tl.int32, np.int32),
}


def _number(value, annotation):
    """A number as a kernel gets it."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return value
    default = (tl.float32, np.float32) if isinstance(value, float) else (None, None)
    dtype, to = _ANNOTATED.get(annotation, default)
    return value if dtype is None else tl.tensor(interpreter.TensorHandle(np.array([value], to), dtype), dtype)


def _launch(self, *arguments, method=interpreter.GridExecutor.__call__, **keywords):
    global _accesses
    bound = inspect.signature(self.fn).bind(*arguments, **{k: v for k, v in keywords.items() if k in self.arg_names})
    tensors = [x for x in bound.arguments.values() if isinstance(x, torch.Tensor)]
    annotations = inspect.get_annotations(self.fn)
    for name, value in bound.arguments.items():
        if name not in self.constexprs:
            bound.arguments[name] = _number(value, annotations.get(name))
    before, _accesses = _accesses, Accesses(tensors)
    try:
        with np.errstate(all="ignore"):  # a GPU says nothing about infinities and NaN
            method(self, **bound.arguments)
        races = _accesses.races()
    finally:
        _accesses = before
    if races:
        raise RuntimeError(f"{self.fn.__name__}: {races} accesses race with a store of another program")


def install():
    """Replace the interpreter's parts, once."""
    builder = interpreter.InterpreterBuilder
    _checked("load", "create_masked_load", 1)
    _checked("store", "create_masked_store", 2)
    _checked("atomic", "create_atomic_rmw", 3)
    builder.create_dot, builder.create_assert = _dot, _assert
    interpreter.ScanOps.generic_scan = _tree_scan
    interpreter.GridExecutor.__call__ = _launch
    interpreter.interpreter_builder.options = interpreter.InterpreterOptions(debug=True)


install()
