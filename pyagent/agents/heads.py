"""Heads above the core: what an agent that does not speak decides with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn

from pyagent.nn.recurrent import in_float32
from pyagent.ops import linear

NetArch = Mapping[str, Sequence[int]]
NET_ARCH: NetArch = {"pi": (64, 64), "vf": (64, 64)}


class Linear(nn.Linear):
    """`torch.nn.Linear` by our own products where they are the faster ones: not to a few outputs."""

    def forward(self, input: Tensor) -> Tensor:
        return linear(input, self.weight, self.bias) if self.out_features >= 16 else super().forward(input)


def tanh_layers(input_size: int, sizes: Sequence[int], output_size: int, gain: float) -> nn.Sequential:
    """Linear layers of `sizes` with tanh between, then one to `output_size`; orthogonal, the last one times `gain`."""
    layers: list[nn.Module] = []
    for before, after in pairwise((input_size, *sizes)):
        layers += [_orthogonal(Linear(before, after), 2**0.5), nn.Tanh()]
    return nn.Sequential(*layers, _orthogonal(Linear((input_size, *sizes)[-1], output_size), gain))


class ActorCritic(nn.Module):
    """A policy and a value head.

    Args:
        hidden_size: H, of the core.
        num_scores: A, how many scores the policy gives.
        net_arch: widths of the hidden layers of the policy (``pi``) and of the value (``vf``).
    """

    def __init__(self, hidden_size: int, num_scores: int, net_arch: NetArch = NET_ARCH) -> None:
        super().__init__()
        self.policy = tanh_layers(hidden_size, net_arch["pi"], num_scores, 0.01)
        self.value = tanh_layers(hidden_size, net_arch["vf"], 1, 1.0)

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Scores [..., A] and values [...] of states [..., H], both float32."""
        return in_float32(self.policy(state)), in_float32(self.value(state)).squeeze(-1)


class DuelingQ(nn.Module):
    """Action values as the value of the situation plus advantages of mean 0.

    Args:
        hidden_size: H, of the core.
        num_actions: A.
        sizes: widths of the hidden layers of both streams.
        dueling: False has one stream, the action values themselves.

    Wang et al. 2016, "Dueling network architectures for deep reinforcement learning", https://arxiv.org/abs/1511.06581
    """

    def __init__(self, hidden_size: int, num_actions: int, sizes: Sequence[int] = (64,), dueling: bool = True) -> None:
        super().__init__()
        self.advantage = tanh_layers(hidden_size, sizes, num_actions, 1.0)
        self.value = tanh_layers(hidden_size, sizes, 1, 1.0) if dueling else None

    def forward(self, state: Tensor) -> tuple[Tensor, Tensor]:
        """Action values [..., A] and the largest of them [...] of states [..., H], both float32."""
        q = in_float32(self.advantage(state))
        if self.value is not None:
            q = q - q.mean(-1, keepdim=True) + in_float32(self.value(state))
        return q, q.detach().amax(-1)


def _orthogonal(layer: nn.Linear, gain: float) -> nn.Linear:
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
