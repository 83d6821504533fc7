"""Trains the demo model on CPU; resumable, and paced by the minutes it is given.

The schedule follows the share of the training time that has passed, so a slower machine sees
fewer examples but the same curriculum: short conversations first, then all, then with the roundings
of the checkpoint's weights, at last with those of the activations too.

With `--start-from` the weights are those of an exported checkpoint, decoded from their stored
formats, and the optimizers start afresh: a second stage of lower rates whose cosine decay ends at
zero, with all roundings throughout. A run remembers in its state which of the two it is.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import torch
import torch.nn as nn
import torch.nn.functional as F

import checkpoint
from batches import Encoder, training_batches
from checkpoint import rounded_weight
from model import Config, Gate, Model
from muon import Muon
from scoring import by_task, exact
from tasks import (
    CONTINUING_SHARES,
    FINISHING_SHARES,
    TRAINING_SHARES,
    Example,
    evaluation_examples,
    published_keys,
    training_example,
)

WARM_UP_STEPS = 20
DECAY_FROM = 0.35
BALANCE_RATE = 0.005
BATCHES_PER_STEP = 2
STATE_FILE = "state.pt"
PROBE_SEED = 99
PROBE_COUNT = 12


def linear_decay(progress: float) -> float:
    """Full rate first, then down in a straight line almost to zero."""
    return max(min(1.0, (1 - progress) / (1 - DECAY_FROM)), 0.01)


def cosine_decay(progress: float) -> float:
    """From full rate to zero along half a cosine."""
    return 0.5 * (1 + math.cos(math.pi * min(progress, 1.0)))


@dataclass(frozen=True)
class Stage:
    """A curriculum: peak learning rates, task shares, and what holds from or until which progress.

    Of the examples with tools, `brief_share` come without the long, constant tool instructions.
    """

    matrix_rate: float
    other_rate: float
    decay: Callable[[float], float]
    shares: dict[str, float]
    finishing_shares: dict[str, float]
    finish_from: float
    short_until: float
    brief_share: float
    brief_until: float
    weight_rounding_from: float
    activation_rounding_from: float


FROM_SCRATCH = Stage(
    matrix_rate=0.02,
    other_rate=0.004,
    decay=linear_decay,
    shares=TRAINING_SHARES,
    finishing_shares=FINISHING_SHARES,
    finish_from=0.8,
    short_until=0.15,
    brief_share=0.75,
    brief_until=0.65,
    weight_rounding_from=0.62,
    activation_rounding_from=0.85,
)
CONTINUED = Stage(
    matrix_rate=0.005,
    other_rate=0.001,
    decay=cosine_decay,
    shares=CONTINUING_SHARES,
    finishing_shares=CONTINUING_SHARES,
    finish_from=1.0,
    short_until=0.0,
    brief_share=0.6,
    brief_until=0.7,
    weight_rounding_from=0.0,
    activation_rounding_from=0.0,
)
PRECISIONS = {"bfloat16": torch.bfloat16, "float32": torch.float32}


def stack_of(config: Config, name: str, parameter: torch.Tensor) -> int:
    """How many matrices the rows of a parameter hold."""
    if ".experts." in name:
        return parameter.shape[0]
    stacks = {"wq_b": config.num_attention_heads, "wo_a": config.o_groups}
    return stacks.get(name.split(".")[-2], 1)


def parameter_groups(model: Model) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """The matrices for Muon, marked with their stack count, and everything else."""
    matrices, others = [], []
    for name, parameter in model.named_parameters():
        if ".indexer." in name:
            parameter.requires_grad_(False)
        elif ".experts." in name or (
            name.startswith("layers.")
            and parameter.ndim == 2
            and name.endswith("weight")
            and ".gate." not in name
        ):
            parameter.stack = stack_of(model.config, name, parameter)
            matrices.append(parameter)
        else:
            others.append(parameter)
    return matrices, others


def silence_outputs(model: Model) -> None:
    """Starts with sublayers that add nothing and even logits."""
    with torch.no_grad():
        model.head.weight.zero_()
        for layer in model.layers:
            layer.attn.wo_b.weight.mul_(0.1)
            layer.ffn.experts.w2.mul_(0.1)
            layer.ffn.shared_experts.w2.weight.mul_(0.1)


class Source:
    """An endless stream of training examples; short ones alone while `is_short`."""

    def __init__(self, seed: int, step: int) -> None:
        self.rng = random.Random(f"{seed} {step}")
        self.is_short = True
        self.brief_share = 0.0
        self.shares = TRAINING_SHARES
        self.short_shares = {t: s for t, s in TRAINING_SHARES.items() if t != "tools"}

    def __iter__(self) -> Iterator[Example]:
        while True:
            if self.is_short:
                yield training_example(self.rng, self.short_shares, most_turns=0)
            else:
                example = training_example(self.rng, self.shares)
                example.without_instructions = self.rng.random() < self.brief_share
                yield example


def rate(stage: Stage, progress: float, step: int) -> float:
    """The learning rate relative to its peak."""
    return min(1.0, (step + 1) / WARM_UP_STEPS) * stage.decay(progress)


@contextmanager
def rounded_weights(model: nn.Module, active: bool) -> Iterator[None]:
    """Puts the weights' stored values in their place; gradients still reach the full ones."""
    full = {}
    if active:
        for name, parameter in model.named_parameters():
            rounded = rounded_weight(model, name, parameter.data)
            if rounded is not None:
                full[parameter] = parameter.data
                parameter.data = rounded
    yield
    for parameter, value in full.items():
        parameter.data = value


def balance(model: nn.Module, speed: float) -> None:
    """Moves each router's selection bias towards an even load."""
    for gate in model.modules():
        if isinstance(gate, Gate) and not gate.hashed:
            gate.bias += speed * torch.sign(gate.load.mean() - gate.load)
            gate.load.zero_()


def precision_of(dtype: torch.dtype) -> torch.autocast:
    """The context in which matrix products and the residual streams are of this type."""
    return torch.autocast("cpu", dtype=torch.bfloat16, enabled=dtype == torch.bfloat16)


def loss_of(model: Model, batch: tuple, rounded: bool, dtype: torch.dtype) -> torch.Tensor:
    """The summed weighted loss of a batch."""
    inputs, targets, weights = batch
    with precision_of(dtype):
        logits = model.logits(model(inputs, rounded))
    losses = F.cross_entropy(logits.float().flatten(0, 1), targets.flatten(), reduction="none")
    return (losses * weights.flatten()).sum()


def record(log: TextIO, **values: Any) -> None:
    """Prints values as a line of JSON and adds it to the log."""
    text = json.dumps(values)
    print(text, flush=True)
    log.write(text + "\n")
    log.flush()


def main() -> None:
    """Trains until the minutes are used up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path(__file__).parent / "model")
    parser.add_argument("--run", type=Path, required=True, help="folder for the state and the log")
    parser.add_argument(
        "--start-from", type=Path, help="continue from the weights of this exported checkpoint"
    )
    parser.add_argument("--minutes", type=float, default=100)
    parser.add_argument("--matrix-rate", type=float, help="default: that of the stage")
    parser.add_argument("--other-rate", type=float, help="default: that of the stage")
    parser.add_argument(
        "--precision",
        choices=PRECISIONS,
        default="bfloat16",
        help="float32 is the faster one where the CPU has no bf16 units",
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=11)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    arguments.run.mkdir(parents=True, exist_ok=True)
    state_path = arguments.run / STATE_FILE
    encoder = Encoder(arguments.model / "tokenizer.json")
    dtype = PRECISIONS[arguments.precision]
    state = torch.load(state_path, weights_only=True) if state_path.exists() else None
    continued = arguments.start_from is not None
    if state is not None and continued and not state["continued"]:
        parser.error(f"{state_path} is the state of a training from scratch: use another --run")
    continued = state["continued"] if state is not None else continued
    stage = CONTINUED if continued else FROM_SCRATCH
    if continued and state is None:
        model = checkpoint.load(arguments.start_from)
    else:
        model = Model(Config.load(arguments.model / "config.json"))
        silence_outputs(model)
    matrices, others = parameter_groups(model)
    peaks = (arguments.matrix_rate or stage.matrix_rate, arguments.other_rate or stage.other_rate)
    muon = Muon(matrices, lr=peaks[0], decay=0.1, dtype=dtype)
    adam = torch.optim.AdamW(others, lr=peaks[1], betas=(0.9, 0.95), weight_decay=0.0)
    step, elapsed = 0, 0.0
    if state is not None:
        model.load_state_dict(state["model"])
        muon.load_state_dict(state["muon"])
        adam.load_state_dict(state["adam"])
        step, elapsed = state["step"], state["elapsed"]
    probes = evaluation_examples(PROBE_SEED, PROBE_COUNT, published_keys())
    log = (arguments.run / "log.jsonl").open("a")

    def save() -> None:
        torch.save(
            {
                "model": model.state_dict(),
                "muon": muon.state_dict(),
                "adam": adam.state_dict(),
                "step": step,
                "elapsed": elapsed,
                "continued": continued,
            },
            state_path.with_suffix(".part"),
        )
        state_path.with_suffix(".part").replace(state_path)

    def probe(rounded: bool) -> None:
        with precision_of(dtype), rounded_weights(model, rounded):
            right = exact(model, encoder, probes, rounded)
        record(log, step=step, exact={t: f"{a}/{b}" for t, (a, b) in by_task(probes, right).items()})

    source = Source(arguments.seed, step)
    stream = training_batches(encoder, source)
    seconds = 60 * arguments.minutes
    shown_loss, shown_weight, shown_tokens, shown_time = 0.0, 0.0, 0, time.monotonic()
    saved = probed = elapsed
    while elapsed < seconds:
        begin = time.monotonic()
        progress = elapsed / seconds
        rounded = progress >= stage.activation_rounding_from
        source.is_short = progress < stage.short_until
        finishing = progress >= stage.finish_from
        source.shares = stage.finishing_shares if finishing else stage.shares
        source.brief_share = stage.brief_share if progress < stage.brief_until else 0.0
        batches = [next(stream) for _ in range(BATCHES_PER_STEP)]
        total = sum(batch[2].sum().item() for batch in batches)
        model.train()
        with rounded_weights(model, progress >= stage.weight_rounding_from):
            for batch in batches:
                loss = loss_of(model, batch, rounded, dtype)
                (loss / total).backward()
                shown_loss += loss.item()
                shown_tokens += batch[0].numel()
        shown_weight += total
        factor = rate(stage, progress, step)
        for optimizer, peak in zip((muon, adam), peaks):
            for group in optimizer.param_groups:
                group["lr"] = peak * factor
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        muon.step()
        adam.step()
        muon.zero_grad()
        adam.zero_grad()
        balance(model, BALANCE_RATE * factor)
        step += 1
        elapsed += time.monotonic() - begin
        if step % 25 == 0:
            now = time.monotonic()
            record(
                log,
                step=step,
                minutes=round(elapsed / 60, 2),
                loss=round(shown_loss / shown_weight, 4),
                tokens_per_second=round(shown_tokens / (now - shown_time)),
            )
            if not math.isfinite(shown_loss):
                raise FloatingPointError("the loss is not finite")
            shown_loss, shown_weight, shown_tokens, shown_time = 0.0, 0.0, 0, now
        if elapsed - probed > 330:
            probed = elapsed
            probe(progress >= stage.weight_rounding_from)
        if elapsed - saved > 60:
            saved = elapsed
            save()
    save()
    probe(True)


if __name__ == "__main__":
    main()
