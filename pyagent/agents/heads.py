"""Heads above the core: what an agent that does not speak decides with."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from itertools import pairwise

from torch import Tensor, nn

from pyagent.nn.recurrent import in_float32
from pyagent.ops import tanh_layers

NetArch = Mapping[str, Sequence[int]]
NET_ARCH: NetArch = {"pi": (64, 64), "vf": (64, 64)}


class TanhLayers(nn.Sequential):
    """Linear layers with tanh between, of our own products; orthogonal, the last one times `gain`.

    Args:
        sizes: of the input, of every hidden layer and of the output.
    """

    def __init__(self, sizes: Sequence[int], gain: float) -> None:
        layers = [_orthogonal(nn.Linear(before, after), 2**0.5) for before, after in pairwise(sizes[:-1])]
        layers.append(_orthogonal(nn.Linear(sizes[-2], sizes[-1]), gain))
        # Numbered as if every tanh were a module of its own: saved agents have these names.
        super().__init__(OrderedDict((str(2 * i), layer) for i, layer in enumerate(layers)))

    def forward(self, input: Tensor) -> Tensor:
        weights, biases = zip(*((layer.weight, layer.bias) for layer in self), strict=True)
        return tanh_layers(input, weights, biases)


class ActorCritic(nn.Module):
    """A policy and a value head.

    Args:
        hidden_size: H, of the core.
        num_scores: A, how many scores the policy gives.
        net_arch: widths of the hidden layers of the policy (``pi``) and of the value (``vf``).
    """

    def __init__(self, hidden_size: int, num_scores: int, net_arch: NetArch = NET_ARCH) -> None:
        super().__init__()
        self.policy = TanhLayers((hidden_size, *net_arch["pi"], num_scores), 0.01)
        self.value = TanhLayers((hidden_size, *net_arch["vf"], 1), 1.0)

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
        self.advantage = TanhLayers((hidden_size, *sizes, num_actions), 1.0)
        self.value = TanhLayers((hidden_size, *sizes, 1), 1.0) if dueling else None

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
