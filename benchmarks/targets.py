"""What the suite has to show: every target, what a run reached, and whether that is enough."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import geometric_mean

from .records import Record

Measure = Callable[[Record], float | None]


@dataclass(frozen=True)
class Target:
    """Bounds for the geometric mean and the worst case of the records that `measure` gives a figure for, or none."""

    what: str
    against: str
    measure: Measure
    mean: float | None
    worst: float | None = None
    at_most: bool = False

    def reached(self, records: Sequence[Record]) -> Reached | None:
        """None where the run holds nothing to judge it by."""
        values = [(value, record.label) for record in records if (value := self.measure(record)) is not None]
        if not values:
            return None
        mean, (worst, case) = geometric_mean([value for value, _ in values]), (max if self.at_most else min)(values)
        return Reached(mean, worst, case, self._enough(mean, self.mean) and self._enough(worst, self.worst))

    def bound(self, value: float | None) -> str:
        return "–" if value is None else f"{'≤' if self.at_most else '≥'} {value:.3g}"

    def verdict(self, reached: Reached) -> str:
        if self.mean is None and self.worst is None:
            return "no target"
        return "met" if reached.met else "missed"

    def _enough(self, value: float, bound: float | None) -> bool:
        return bound is None or (value <= bound if self.at_most else value >= bound)


@dataclass(frozen=True)
class Reached:
    mean: float
    worst: float
    worst_case: str
    met: bool


def _time_ratio(group: str, peer: str | None = None, **case: object) -> Measure:
    """The ratio to a peer, of the cases of a group with these parameters."""

    def measure(record: Record) -> float | None:
        matches = record.group == group and all(record[name] == value for name, value in case.items())
        return record.ratio(peer) if matches else None

    return measure


def _gated(measure: Measure) -> Measure:
    """Of the cells with gates alone."""
    return lambda record: None if record["cell"] == "RNN" else measure(record)


def _efficiency(fits: Callable[[int], bool], of: Measure) -> Measure:
    """Our FLOP/s over what `of` names, forward and backward, for the hidden sizes that fit."""

    def measure(record: Record) -> float | None:
        wanted = record.group == "kernel efficiency" and record["backward"] and fits(record["H"])
        return of(record) if wanted else None

    return measure


def _share_of_mm(record: Record) -> float:
    return record["gflops"] / record["peer_gflops"]


def _share_of_bandwidth(record: Record) -> float | None:
    """Of the bandwidth that the peer reaches."""
    if not record["peer_bytes"]:
        return None
    return record["bytes"] / record["peer_bytes"] * record["ratio"]


def _memory_ratio(group: str) -> Measure:
    def measure(record: Record) -> float | None:
        memory = record["memory"]
        return memory["ours"] / memory["peer"] if record.group == group and memory else None

    return measure


def _memory_of_logits(record: Record) -> float | None:
    memory, logits = record["memory"], record["logits_bytes"]
    return memory["ours"] / logits if record.group == "head" and memory and logits else None


def _fastest_library(group: str) -> Measure:
    """The ratio to the fastest of the peers besides numpy."""

    def measure(record: Record) -> float | None:
        peers = record["peers"] if record.group == group else {}
        return min((it["ratio"] for name, it in peers.items() if name != "numpy"), default=None)

    return measure


def _targets() -> list[Target]:
    training, dense, acting = "recurrent training", "dense training", "acting"
    found = [
        Target(f"training, {cell}", f"`nn.Embedding` + `nn.{cell}`", _time_ratio(training, cell=cell), mean, 1.8)
        for cell, mean in (("LSTM", 2.2), ("GRU", 3.2), ("RNN", 2.8))
    ]
    resets = _time_ratio("recurrent training with resets")
    found.append(Target("training with resets", "the step loop that users write", resets, 6.0))
    found += [
        Target(f"dense training, {cell}", f"`nn.{cell}`", _time_ratio(dense, cell=cell), mean, 1.1)
        for cell, mean in (("LSTM", 1.4), ("GRU", 1.8), ("RNN", 1.8))
    ]
    for peer, name, means in (
        (None, "`nn.Embedding` + `nn.X`", (7.0, 5.0, 2.8)),
        ("ONNX Runtime", "ONNX Runtime (LSTM, GRU)", (2.5, 2.0, 1.8)),
    ):
        for B, mean in zip((1, 8, 64), means, strict=True):
            measure = _time_ratio(acting, peer, B=B)
            found.append(Target(f"acting step, B = {B}", name, _gated(measure) if peer else measure, mean))
    for width, mean in (("fp32", 6.0), ("bf16", 3.0)):
        measure = _time_ratio("bf16 training", width)
        found.append(Target("bf16 training, LSTM", f"{width} `nn.Embedding` + `nn.LSTM`", measure, mean))
    split = _time_ratio("split fp32 training")
    found.append(Target("training in split fp32, H ≥ 256 (AMX)", "our own fp32", split, 2.0, 2.0))
    found.append(Target("2 threads, B ≥ 32", "our own 1 thread", _time_ratio("threads"), 1.6))
    for sizes, fits, mean in (("H = 256", lambda H: H == 256, 0.8), ("H ≥ 512", lambda H: H >= 512, 0.85)):
        of_mm, of_fma = _efficiency(fits, _share_of_mm), _efficiency(fits, lambda record: record["share_of_fma"])
        found.append(Target(f"recurrence, {sizes}, share of", "`torch.mm`'s FLOP/s", of_mm, mean))
        found.append(Target(f"recurrence, {sizes}, share of", "one core's FMA peak", of_fma, None))
    for what, group, mean in (("token", training, 0.6), ("dense", dense, 1.0)):
        found.append(Target(f"peak memory, {what} input", "torch.nn's", _memory_ratio(group), mean, at_most=True))
    found.append(Target("checkpointing, time", "gates kept", _time_ratio("checkpointing"), 1 / 1.4))
    checkpointed = _memory_ratio("checkpointing")
    found.append(Target("checkpointing, peak memory", "torch.nn's", checkpointed, 0.2, at_most=True))
    for H, mean in ((256, 1 / 0.8), (512, 1 / 0.95)):
        found.append(Target(f"head, H = {H}", "`linear` + `cross_entropy`", _time_ratio("head", H=H), mean))
    found.append(
        Target("returns, T = 128, B = 64", "the loop over T in torch", _time_ratio("returns", "over T"), None, 50)
    )
    found.append(Target("returns, T = 128, B = 64", "TorchRL", _time_ratio("returns", "TorchRL"), None, 3.0))
    found.append(
        Target("returns, T = 1024, B = 4096, share of", "`torch.add`'s bandwidth", _share_of_bandwidth, None, 0.6)
    )
    found.append(Target("replay, 1M items", "the fastest of cpprb, TorchRL, tianshou", _fastest_library("replay"), 3.0))
    found.append(Target("tabular Q-learning", "the loop in numpy", _time_ratio("q update", "numpy"), None, 300))
    found.append(Target("tabular Q-learning", "the loop in numba", _time_ratio("q update", "numba"), None, 1.2))
    found.append(Target("head, peak memory", "the logits' size", _memory_of_logits, 0.1, at_most=True))
    composed = "composed torch"
    found.append(Target("TD losses, 4096 × 18", composed, _time_ratio("TD losses", A=18), 3.0))
    found.append(Target("PPO loss", composed, _time_ratio("PPO loss"), None))
    found.append(Target("ε-greedy", composed, _time_ratio("epsilon-greedy"), None))
    for rule in ("plain", "mask", "top-k", "top-p"):
        measure = _time_ratio("sampling", rule=rule)
        found.append(Target(f"categorical sampling, {rule}", "`torch.multinomial`", measure, None))
    return found


TARGETS = _targets()


def table(records: Sequence[Record]) -> list[list[str]]:
    """Header and rows: what, against, geometric mean, its target, worst case, its target, met or missed."""
    rows = [["what", "against", "geometric mean", "target", "worst", "target", ""]]
    for target in TARGETS:
        bounds = target.bound(target.mean), target.bound(target.worst)
        got = target.reached(records)
        if got is None:
            rows.append([target.what, target.against, "–", bounds[0], "–", bounds[1], "not measured"])
            continue
        unit = "" if target.at_most or "share" in target.what else "×"
        mean, worst = f"{got.mean:.2f}{unit}", f"{got.worst:.2f}{unit} ({got.worst_case})"
        rows.append([target.what, target.against, mean, bounds[0], worst, bounds[1], target.verdict(got)])
    return rows
