"""The recurrence and its gradients in float64, in numpy: what the CUDA kernels are compared with."""

import numpy as np

GATES = {"tanh": 1, "relu": 1, "gru": 3, "lstm": 4}
CELLS = list(GATES)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def forward(cell, x, weight_hh, bias_hn, h_0, c_0, reset, lengths):
    """x `[T, B, G·H]`, all else as `pyagent.ops.recurrence` has it, without None. Returns a dict of `output`, `h_n`,
    `c_n`, `gates` `[T, B, 4·H]` and `cells` as the forward kernel writes them, and `h_prev`, `c_prev` `[T, B, H]`."""
    T, B, _ = x.shape
    H = weight_hh.shape[1]
    h, c = h_0.copy(), c_0.copy()
    history = {name: np.zeros((T, B, H)) for name in ("output", "cells", "h_prev", "c_prev")}
    gates = np.zeros((T, B, 4, H))
    for t in range(T):
        h_prev, c_prev = (np.where(reset[t, :, None], 0, state) for state in (h, c))
        product = (h_prev @ weight_hh.T).reshape(B, -1, H)
        row = x[t].reshape(B, -1, H)
        h_t, c_t = np.zeros_like(h), np.zeros_like(c)
        if cell == "lstm":
            i, f, g, o = np.moveaxis(row + product, 1, 0)
            i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
            c_t = f * c_prev + i * g
            h_t = o * np.tanh(c_t)
            kept = i, f, g, o
        elif cell == "gru":
            r, z = sigmoid(row[:, 0] + product[:, 0]), sigmoid(row[:, 1] + product[:, 1])
            hn = product[:, 2] + bias_hn
            n = np.tanh(row[:, 2] + r * hn)
            h_t = (1 - z) * n + z * h_prev
            kept = r, z, hn, n
        else:
            h_t = np.tanh(row + product)[:, 0] if cell == "tanh" else np.maximum(row + product, 0)[:, 0]
            kept = np.zeros((4, B, H))
        alive = (t < lengths)[:, None]
        h, c = np.where(alive, h_t, h), np.where(alive, c_t, c)
        step = dict(output=h_t, cells=c_t, h_prev=h_prev, c_prev=c_prev)
        for name, value in step.items():
            history[name][t] = np.where(alive, value, 0)
        gates[t] = np.where(alive[:, None], np.stack(kept, 1), 0)
    return dict(history, h_n=h, c_n=c, gates=gates.reshape(T, B, 4 * H))


def backward(cell, saved, weight_hh, reset, lengths, grad_output, grad_h_n, grad_c_n):
    """`saved` is what `forward` returned. Returns `grad_gates`, `grad_h_0` and `grad_c_0` as the kernel writes them."""
    T, B, H = saved["output"].shape
    width = 4 if cell in ("gru", "lstm") else 1
    grad_gates = np.zeros((T, B, width, H))
    dh, dc = grad_h_n.copy(), grad_c_n.copy()
    for t in reversed(range(T)):
        alive = (t < lengths)[:, None]
        after_h = dh + grad_output[t]
        h, h_prev, c, c_prev = (saved[name][t] for name in ("output", "h_prev", "cells", "c_prev"))
        direct, after_c = 0, 0
        if cell == "lstm":
            i, f, g, o = np.moveaxis(saved["gates"][t].reshape(B, 4, H), 1, 0)
            after_c = dc + after_h * o * (1 - np.tanh(c) ** 2)
            grads = [
                after_c * g * (i - i**2),
                after_c * c_prev * (f - f**2),
                after_c * i * (1 - g**2),
                after_h * np.tanh(c) * (o - o**2),
            ]
            after_c = after_c * f
        elif cell == "gru":
            r, z, hn, n = np.moveaxis(saved["gates"][t].reshape(B, 4, H), 1, 0)
            grad_n = after_h * (1 - z) * (1 - n**2)
            grads = [grad_n * hn * (r - r**2), after_h * (h_prev - n) * (z - z**2), grad_n * r, grad_n]
            direct = after_h * z
        else:
            grads = [after_h * (1 - h**2) if cell == "tanh" else np.where(h <= 0, 0, after_h)]
        grads = np.where(alive[:, None], np.stack(grads, 1), 0)
        grad_gates[t] = grads
        G = GATES[cell]
        before_h = grads[:, :G].reshape(B, -1) @ weight_hh + direct
        fresh = reset[t, :, None]
        dh = np.where(alive, np.where(fresh, 0, before_h), dh)
        dc = np.where(alive, np.where(fresh, 0, after_c), dc)
    return dict(grad_gates=grad_gates.reshape(T, B, width * H), grad_h_0=dh, grad_c_0=dc)
