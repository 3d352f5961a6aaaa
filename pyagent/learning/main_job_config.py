"""What the main job is asked to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from typing import Any


@dataclass(frozen=True)
class MainJobConfig:
    """Settings of `pyagent train`; the defaults are the job of the README.

    Raises:
        ValueError: a count below what makes sense.
    """

    level: str = "pyagent/PutNextLocal-v0"
    """the task to learn"""
    easier_level: str = "pyagent/GoToLocal-v0"
    """an easier task learned along with it"""
    seed: int = 0
    """of everything: demonstrations, weights, levels, choices"""
    demonstrations: int = 500
    """episodes of `level` by its bot, a share of them held out"""
    easier_demonstrations: int = 150
    """episodes of `easier_level` by its bot"""
    held_out: float = 0.15
    """share of the demonstrations that supervised learning does not see"""
    supervised_learning_rate: float = 3e-3
    """of AdamW"""
    supervised_batch_size: int = 128
    """turns a batch"""
    patience: int = 4
    """epochs without a fall of the held-out loss before supervised learning stops"""
    supervised_timesteps: int = 1_000_000
    """turns after which supervised learning stops in any case"""
    cell: str = "gru"
    """recurrent core: gru, lstm or rnn"""
    hidden_size: int = 128
    """units of the core"""
    reinforcement_timesteps: int = 294_912
    """environment steps of reinforcement learning"""
    num_envs: int = 64
    """environments played at once; three of four play `level`, the others `easier_level`"""
    n_steps: int = 64
    """turns of each environment between updates"""
    batch_size: int = 1024
    """turns a minibatch"""
    n_epochs: int = 3
    """passes over each rollout"""
    learning_rate: float = 1.5e-3
    """of Adam at the start of reinforcement learning; it falls linearly"""
    gamma: float = 0.95
    """discount of a step"""
    gae_lambda: float = 0.95
    """of generalised advantage estimation"""
    clip_range: float = 0.2
    """of PPO"""
    ent_coef: float = 0.0
    """weight of the policy's entropy"""
    checkpoint_timesteps: int = 73_728
    """environment steps between checkpoints"""
    evaluation_episodes: int = 512
    """named seeds that each agent is evaluated on, one episode each"""
    precision: str = "float32"
    """or "bfloat16": of the products in learning"""
    threads: int = 1
    """threads of torch; the job's batches are small, and more of them wait for each other on a busy machine"""
    first_evaluation_seed: int = 0
    """how many of the evaluation seeds to leave out"""

    def __post_init__(self) -> None:
        for name in ("demonstrations", "patience", "evaluation_episodes", "checkpoint_timesteps", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: want 1 or more, got {getattr(self, name)}")
        if self.num_envs < 4 or self.num_envs % 4:
            raise ValueError(f"num_envs: want a multiple of 4, got {self.num_envs}")

    @classmethod
    def tiny(cls, **changes: Any) -> MainJobConfig:
        """The same job in seconds, for trying that it runs; it learns little."""
        small = cls(
            level="pyagent/GoToLocalS5N2-v0",
            easier_level="pyagent/GoToObj-v0",
            demonstrations=24,
            easier_demonstrations=8,
            patience=1,
            supervised_timesteps=600,
            hidden_size=32,
            reinforcement_timesteps=256,
            num_envs=8,
            n_steps=8,
            batch_size=32,
            n_epochs=1,
            checkpoint_timesteps=128,
            evaluation_episodes=8,
        )
        return replace(small, **changes)

    def to_json(self) -> dict[str, Any]:
        """All settings as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, settings: dict[str, Any]) -> MainJobConfig:
        """The settings of a run's `config.json`; what else stands there is left out."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in settings.items() if name in known})
