"""Recurrent PPO as users of TorchRL write it: gymnasium's vector environment under `GymWrapper`, an `LSTMModule` that
policy and value share, its collector, GAE and clipped loss, minibatches of whole environments. Written from its
documentation for the comparison in throughput.py."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np
import torch
from gymnasium.vector import SyncVectorEnv
from tensordict import TensorDict
from tensordict.nn import TensorDictModule
from tensordict.nn import TensorDictSequential as Sequential
from torch import Tensor, nn
from torchrl.collectors import Collector
from torchrl.envs import GymWrapper, InitTracker, RewardSum, TransformedEnv
from torchrl.modules import (
    MLP,
    ActorValueOperator,
    LSTMModule,
    OneHotCategorical,
    ProbabilisticActor,
    set_recurrent_mode,
)
from torchrl.objectives import ClipPPOLoss
from torchrl.objectives.value import GAE


class TorchRLLoop:
    """Collector, advantages, epochs of minibatches.

    Args:
        env: of `Discrete` observations and actions, without autoreset: TorchRL resets them itself.
    """

    def __init__(self, env: SyncVectorEnv, steps: int, epochs: int, lanes: int, learning_rate: float) -> None:
        self.epochs, self.lanes = epochs, lanes
        torch.manual_seed(0)
        lstm = LSTMModule(
            int(env.single_observation_space.n),
            128,
            in_keys=["features", "h", "c"],
            out_keys=["output", ("next", "h"), ("next", "c")],
        )
        self.env = TransformedEnv(GymWrapper(env), InitTracker())
        self.env.append_transform(RewardSum())
        self.env.append_transform(lstm.make_tensordict_primer())
        common = Sequential(TensorDictModule(Tensor.float, in_keys=["observation"], out_keys=["features"]), lstm)
        policy = TensorDictModule(_head(int(env.single_action_space.n)), in_keys=["output"], out_keys=["logits"])
        actor = ProbabilisticActor(
            policy,
            in_keys=["logits"],
            spec=self.env.action_spec,
            distribution_class=OneHotCategorical,
            return_log_prob=True,
        )
        value = TensorDictModule(_head(1), in_keys=["output"], out_keys=["state_value"])
        model = ActorValueOperator(common, actor, value)
        self.gae = GAE(
            gamma=0.99, lmbda=0.95, value_network=model.get_value_operator(), deactivate_vmap=True, shifted=True
        )
        self.loss = ClipPPOLoss(
            # Of the value only its head: it goes on from what the policy has made of the same turns.
            model.get_policy_operator(),
            model.get_value_head(),
            clip_epsilon=0.2,
            entropy_coeff=0.01,
            critic_coeff=0.5,
            loss_critic_type="l2",
            normalize_advantage=True,
        )
        self.optimizer = torch.optim.Adam(self.loss.parameters(), lr=learning_rate, eps=1e-5)
        self.collector = Collector(
            self.env, model.get_policy_operator(), frames_per_batch=steps * env.num_envs, total_frames=-1
        )
        self.rollouts = iter(self.collector)
        self.steps = steps * env.num_envs
        self.recent = deque[float](maxlen=100)

    def learn(self, timesteps: int, reached: Callable[[float], bool]) -> None:
        for _ in range(-(-timesteps // self.steps)):
            rollout = next(self.rollouts)
            self._update(rollout)
            self.recent.extend(rollout["next", "episode_reward"][rollout["next", "done"]].tolist())
            if self.recent and reached(float(np.mean(self.recent))):
                return

    def _update(self, rollout: TensorDict) -> None:
        with set_recurrent_mode(True):
            with torch.no_grad():
                self.gae(rollout)
            for _ in range(self.epochs):
                for lanes in torch.randperm(len(rollout)).split(self.lanes):
                    losses = self.loss(rollout[lanes])
                    loss = losses["loss_objective"] + losses["loss_critic"] + losses["loss_entropy"]
                    self.optimizer.zero_grad()
                    loss.backward()
                    nn.utils.clip_grad_norm_(self.loss.parameters(), 0.5)
                    self.optimizer.step()


def _head(outputs: int) -> MLP:
    return MLP(out_features=outputs, num_cells=[64, 64], activation_class=nn.Tanh, in_features=128)
