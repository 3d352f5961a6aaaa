"""RNN, GRU and LSTM with torch.nn's parameters, and resets and lengths inside the sequence.

Sequences of float32 obey `torch.set_float32_matmul_precision` as `pyagent.ops.recurrent_layer` says; single steps,
whose time goes into reading the weights, do not.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from pyagent.nn.frozen import Freezable
from pyagent.ops import StepWeights, pack_step, recurrence_step, recurrent_layer
from pyagent.ops.checks import check_optional, check_size, check_tensor
from pyagent.ops.recurrence import CELLS, GATES
from pyagent.ops.recurrent_layer import DTYPES

State = Tensor | tuple[Tensor, Tensor]
Layers = Sequence[Tensor | None]  # [B, H] each


class Recurrent(Freezable):
    """What RNN, GRU and LSTM share; `cell` names the arithmetic (see `pyagent.ops.recurrence`)."""

    cell: str

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        *,
        bidirectional: bool = False,
        proj_size: int = 0,
        checkpoint_every: int = 1,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        if bidirectional or proj_size:
            raise NotImplementedError("bidirectional and proj_size are not supported")
        for name, size, least in (
            ("input_size", input_size, 0),
            ("hidden_size", hidden_size, 1),
            ("num_layers", num_layers, 1),
            ("checkpoint_every", checkpoint_every, 1),
        ):
            check_size(name, size, least)
        if not 0.0 <= dropout <= 1.0:
            raise ValueError(f"dropout: got {dropout}, want a probability in [0, 1]")
        if dtype is not None and dtype not in DTYPES:
            raise TypeError(f"dtype: got {dtype}, want float32, float64 or bfloat16")
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.dropout = bias, batch_first, dropout
        self.checkpoint_every = checkpoint_every
        width = GATES[self.cell] * hidden_size
        for layer in range(num_layers):
            inputs = input_size if layer == 0 else hidden_size
            shapes = {"weight_ih": (width, inputs), "weight_hh": (width, hidden_size)}
            if bias:
                shapes |= {"bias_ih": (width,), "bias_hh": (width,)}
            for name, shape in shapes.items():
                parameter = nn.Parameter(torch.empty(shape, device=device, dtype=dtype))
                self.register_parameter(f"{name}_l{layer}", parameter)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Uniform in ±1/√H, drawn in torch.nn's order: one seed gives both the same weights."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            nn.init.uniform_(weight, -bound, bound)

    def extra_repr(self) -> str:
        layers = f", num_layers={self.num_layers}" if self.num_layers > 1 else ""
        return f"{self.input_size}, {self.hidden_size}{layers}"

    def forward(
        self, input: Tensor, state: State | None = None, *, reset: Tensor | None = None, lengths: Tensor | None = None
    ) -> tuple[Tensor, State]:
        """Run over a sequence.

        Args:
            input: `[T, B, input_size]` (`[B, T, input_size]` with batch_first), the weights' dtype.
            state: h_0 `[L, B, H]`, for LSTM (h_0, c_0); None is zeros.
            reset: bool, `[T, B]` (`[B, T]`): every layer's state is replaced by zeros before step t, and no gradient
                passes.
            lengths: int64 `[B]`, 0…T: a lane's state holds after its end, its outputs there are 0.

        Returns:
            output `[T, B, H]` (`[B, T, H]`) and the state of each lane at its end, as `state`.

        Raises:
            ValueError, TypeError: a wrong shape, device or dtype.
            IndexError: a length outside 0…T.
        """
        axes = ["B", "T"] if self.batch_first else ["T", "B"]
        like = self.parameter("weight_hh")
        check_tensor("input", input, [*axes, self.input_size], accepted_dtypes(like), like.device)
        return self.forward_layers(input.transpose(0, 1) if self.batch_first else input, None, state, reset, lengths)

    def forward_layers(
        self,
        input: Tensor,
        embedding: nn.Embedding | None,
        state: State | None,
        reset: Tensor | None,
        lengths: Tensor | None,
    ) -> tuple[Tensor, State]:
        """`forward` from time-first inputs: dense, or tokens with their embedding (`pyagent.ops.recurrent_layer`)."""
        T, B = input.shape[:2]
        h_0, c_0 = self.split_state(state, B, self.parameter("weight_hh"))
        if reset is not None:
            check_tensor("reset", reset, [B, T] if self.batch_first else [T, B], (torch.bool,), input.device)
            reset = reset.t() if self.batch_first else reset
        table, padding_idx = (None, None) if embedding is None else (embedding.weight, embedding.padding_idx)
        output, h_n, c_n = input, [], []
        for layer in range(self.num_layers):
            if layer > 0:
                output, table, padding_idx = nn.functional.dropout(output, self.dropout, self.training), None, None
            output, h_last, c_last = recurrent_layer(
                output,
                table,
                self.parameter("weight_ih", layer),
                self.parameter("weight_hh", layer),
                self.parameter("bias_ih", layer) if self.bias else None,
                self.parameter("bias_hh", layer) if self.bias else None,
                h_0[layer],
                c_0[layer],
                reset,
                lengths,
                cell=self.cell,
                checkpoint_every=self.checkpoint_every,
                padding_idx=padding_idx,
            )
            h_n.append(h_last)
            c_n.append(c_last)
        return output.transpose(0, 1) if self.batch_first else output, _join_layers(h_n, c_n)

    def step(self, input: Tensor, state: State | None = None, *, reset: Tensor | None = None) -> tuple[Tensor, State]:
        """One time step without gradient or dropout: the acting path, fastest inside `frozen()`.

        Args:
            input: `[B, input_size]`.
            state: as in `forward`; not written to.
            reset: bool `[B]`.

        Returns:
            output `[B, H]` and the next state.

        Raises:
            ValueError, TypeError: a wrong shape, device or dtype.
        """
        derived = self._derived
        weights = self.step_weights() if derived is None else derived
        try:
            return self.take_step(weights, input, state, reset)
        except (RuntimeError, ValueError, TypeError):
            like = self.parameter("weight_hh")
            check_tensor("input", input, ["B", self.input_size], accepted_dtypes(like), like.device)
            self.check_step_state(input.shape[0], state, reset, like)
            raise

    def step_weights(self) -> StepWeights:
        """What a step reads, as it is; of bfloat16 as float32."""
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh") if self.bias else ("weight_ih", "weight_hh")
        layers = tuple(in_float32(self.parameter(name, layer)) for layer in range(self.num_layers) for name in names)
        return StepWeights(None, layers, CELLS.index(self.cell), self.hidden_size)

    def derive(self) -> StepWeights:
        return pack_step(self.step_weights())

    def take_step(
        self, weights: StepWeights, input: Tensor, state: State | None, reset: Tensor | None
    ) -> tuple[Tensor, State]:
        """`recurrence_step` with the state as the modules have it; with bfloat16 around a step of float32."""
        if self.parameter("weight_hh").dtype is not torch.bfloat16 and not torch.is_autocast_enabled("cpu"):
            return take_step(weights, input, state, reset)
        self.check_step_state(input.shape[0], state, reset, self.parameter("weight_hh"))
        if state is not None:
            state = (state[0].float(), state[1].float()) if self.cell == "lstm" else state.float()  # type: ignore[union-attr]
        output, after = take_step(weights, in_float32(input), state, reset)
        if self.cell == "lstm":
            return output.bfloat16(), (after[0].bfloat16(), after[1].bfloat16())
        return output.bfloat16(), after.bfloat16()  # type: ignore[union-attr]

    def check_step_state(self, B: int, state: State | None, reset: Tensor | None, like: Tensor) -> None:
        """Raise what is wrong with a step's state and reset, if anything is."""
        self.split_state(state, B, like)
        check_optional("reset", reset, [B], (torch.bool,), like.device)

    def parameter(self, name: str, layer: int = 0) -> Tensor:
        """A layer's parameter, by torch.nn's name without the layer's suffix."""
        return parameter_of(self, f"{name}_l{layer}")

    def split_state(self, state: State | None, B: int, like: Tensor) -> tuple[Layers, Layers]:
        """h and c of a state argument, a layer at a time; `like` has the dtype and device it must have.

        Raises:
            ValueError, TypeError: a wrong shape, device or dtype.
        """
        shape, absent = (self.num_layers, B, self.hidden_size), (None,) * self.num_layers
        if state is None:
            return absent, absent
        if self.cell != "lstm":
            return _split_layers("state", state, shape, like), absent
        if not isinstance(state, (tuple, list)) or len(state) != 2:
            raise TypeError(f"state: got {type(state).__name__}, want (h, c)")
        return _split_layers("state[0]", state[0], shape, like), _split_layers("state[1]", state[1], shape, like)


def take_step(weights: StepWeights, input: Tensor, state: State | None, reset: Tensor | None) -> tuple[Tensor, State]:
    """`recurrence_step` with the state as the modules have it."""
    if CELLS[weights.cell] != "lstm":
        output, h_n, _ = recurrence_step(input, weights, state, None, reset)  # type: ignore[arg-type]
        return output, h_n
    h, c = (None, None) if state is None else state
    output, *after = recurrence_step(input, weights, h, c, reset)
    return output, (after[0], after[1])  # type: ignore[return-value]


def in_float32(tensor: Tensor) -> Tensor:
    """A bfloat16 tensor as float32, another as it is."""
    return tensor.float() if tensor.dtype is torch.bfloat16 else tensor


def accepted_dtypes(like: Tensor) -> tuple[torch.dtype, ...]:
    """The dtypes of inputs and states beside such weights: theirs, and under autocast what comes out of it too."""
    return (like.dtype, torch.bfloat16) if torch.is_autocast_enabled(like.device.type) else (like.dtype,)


def parameter_of(module: nn.Module, name: str) -> Tensor:
    """A parameter, several times as fast as by attribute where it is stored under its name (parametrized ones are
    not)."""
    found = module._parameters.get(name)
    return getattr(module, name) if found is None else found


def _split_layers(name: str, state: Any, shape: tuple[int, int, int], like: Tensor) -> Layers:
    check_tensor(name, state, shape, accepted_dtypes(like), like.device)
    return state.unbind(0)


def _join_layers(h: list[Tensor], c: list[Tensor | None]) -> State:
    """The state of all layers, `[L, B, H]` each; a view where there is one layer."""
    if c[0] is None:
        return h[0].unsqueeze(0) if len(h) == 1 else torch.stack(h)
    return _join_layers(h, [None]), _join_layers(c, [None])  # type: ignore[arg-type,return-value]


class RNN(Recurrent):
    """torch.nn.RNN's parameters and state dict, with `reset` and `lengths`; nonlinearity "tanh" or "relu"."""

    def __init__(self, *args: Any, nonlinearity: str = "tanh", **keywords: Any) -> None:
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"nonlinearity: got {nonlinearity!r}, want 'tanh' or 'relu'")
        self.cell = nonlinearity
        super().__init__(*args, **keywords)


class GRU(Recurrent):
    """torch.nn.GRU's parameters and state dict, with `reset` and `lengths`."""

    cell = "gru"


class LSTM(Recurrent):
    """torch.nn.LSTM's parameters and state dict, with `reset` and `lengths`; its state is (h, c)."""

    cell = "lstm"
