"""Trains the demo model's DSpark drafter on the frozen target; resumable, paced like `train.py`.

Blocks are drafted for anchors among the tokens that the assistant writes. The drafter learns the
target's distributions at those places (their distance in L1), a little of the tokens themselves,
and how far it may trust itself. The target runs as it is served, with all its roundings; the last
part of the training also rounds the drafter's weights as they will be stored, then its activations.
"""

from __future__ import annotations

import argparse
import math
import random
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

import checkpoint
from acceptance import acceptance, greedy_texts
from batches import Batch, Encoder, training_batches
from drafter import Drafter
from model import Model
from muon import Muon
from tasks import Example, evaluation_examples, published_keys, training_example
from train import PRECISIONS, balance, linear_decay, precision_of, record, rounded_weights, stack_of

SHARES = {
    "counting": 0.24,
    "sorting": 0.06,
    "sums": 0.08,
    "json": 0.24,
    "code": 0.12,
    "repeat": 0.07,
    "facts": 0.04,
    "small talk": 0.04,
    "tools": 0.11,
}
BRIEF_SHARE = 0.7
ANCHORS_MAX = 16
BATCHES_KEPT = 64
CE_SHARE, L1_SHARE, CONFIDENCE_SHARE = 0.1, 0.9, 1.0
MATRIX_RATE, OTHER_RATE = 0.02, 0.004
WARM_UP_STEPS = 20
WEIGHT_ROUNDING_FROM, ACTIVATION_ROUNDING_FROM = 0.6, 0.8
BALANCE_RATE = 0.005
MARKOV_DEVIATION = 0.02
STATE_FILE = "drafter.pt"
PROBE_SEED = 99
PROBE_COUNT = 12
PROBE_TASKS = ("counting", "sums", "json", "code", "tools")
STEPS_SHOWN = 25
SECONDS_BETWEEN_SAVES, SECONDS_BETWEEN_PROBES = 60, 300


def start_from_target(drafter: Drafter, target: Model) -> None:
    """Makes every stage a copy of the target's last layer, which must be of a stage's shape.

    The context starts as what entered that layer, as far as the mean of the streams tells, and the
    Markov correction and the confidence as zero.
    """
    first, last, layer = drafter.mtp[0], drafter.mtp[-1], target.layers[-1]
    for stage in drafter.mtp:
        stage.load_state_dict(layer.state_dict(), strict=False)
    last.norm.load_state_dict(target.norm.state_dict())
    before = len(target.layers) - 2
    tap = drafter.config.dspark_target_layer_ids.index(before)
    hidden = target.config.hidden_size
    with torch.no_grad():
        for name in ("hc_head_fn", "hc_head_base", "hc_head_scale"):
            getattr(last, name).copy_(getattr(target, name))
        first.main_proj.weight.zero_()
        first.main_proj.weight[:, tap * hidden : (tap + 1) * hidden] = torch.eye(hidden)
        first.main_norm.weight.copy_(layer.attn_norm.weight)
        last.markov_head.markov_w1.weight.normal_(0, MARKOV_DEVIATION)
        last.markov_head.markov_w2.weight.zero_()
        last.confidence_head.proj.weight.zero_()


def parameter_groups(drafter: Drafter) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The matrices for Muon, which are those of the block formats, and everything else."""
    fp8 = checkpoint.fp8_names(drafter)
    matrices, others = [], []
    for name, parameter in drafter.named_parameters():
        if ".experts.w" in name or name in fp8:
            parameter.stack = stack_of(drafter.config, name, parameter)
            matrices.append(parameter)
        else:
            others.append(parameter)
    return matrices, others


def examples(seed: int, step: int) -> Iterator[Example]:
    """An endless stream of training examples, most of them without the long tool instructions."""
    rng = random.Random(f"drafter {seed} {step}")
    while True:
        example = training_example(rng, SHARES)
        example.without_instructions = rng.random() < BRIEF_SHARE
        yield example


@dataclass
class Traced:
    """A batch and what the target makes of it."""

    batch: Batch
    finals: torch.Tensor  # [batch, tokens, hidden]
    taps: list[torch.Tensor]  # of [batch, tokens, hidden]


def traced(target: Model, batch: Batch, taps: list[int], dtype: torch.dtype) -> Traced:
    """The batch with the target's states, all roundings applied."""
    with torch.no_grad(), precision_of(dtype):
        return Traced(batch, *target.trace(batch[0], True, taps))


def with_earlier(fresh: Iterator[Traced], seed: int) -> Iterator[Traced]:
    """Each batch and then an earlier one, as the target's pass costs as much as a step.

    A batch that comes again gets other anchors.
    """
    rng = random.Random(seed)
    kept: deque[Traced] = deque(maxlen=BATCHES_KEPT)
    for batch in fresh:
        yield batch
        if kept:
            yield rng.choice(kept)
        kept.append(batch)


@dataclass
class Blocks:
    """Blocks of a batch: where they start and what should follow.

    A row is valid if its label and all labels of its block before it are the assistant's.
    """

    places: torch.Tensor  # [batch, blocks], of the anchors
    previous: torch.Tensor  # [batch, blocks, size], the token before each label
    labels: torch.Tensor  # [batch, blocks, size]
    valid: torch.Tensor  # [batch, blocks, size]


def choose_blocks(batch: Batch, size: int, most: int, generator: torch.Generator) -> Blocks:
    """Up to `most` random anchors in each sequence of the batch."""
    inputs, targets, weights = batch
    tokens = inputs.shape[1]
    speaks = F.pad(weights == 1, (1, size))
    ids = F.pad(torch.cat((inputs, targets[:, -1:]), 1), (0, size - 1))
    is_anchor = speaks[:, :tokens] & speaks[:, 1 : tokens + 1]
    most = min(most, int(is_anchor.sum(1).max()))
    chances = torch.rand(inputs.shape, generator=generator) + is_anchor
    places = chances.topk(most, 1).indices
    rows = (places[..., None] + torch.arange(size)).flatten(1)
    shape = (*places.shape, size)
    valid = speaks.gather(1, rows + 1).view(shape).cumprod(2).bool()
    valid &= is_anchor.gather(1, places)[..., None]
    return Blocks(
        places, ids.gather(1, rows).view(shape), ids.gather(1, rows + 1).view(shape), valid
    )


@dataclass
class Score:
    """What a batch gives: the loss, and the length that the distributions promise."""

    loss: torch.Tensor
    length: float  # mean over the blocks of 1 + the expected number of accepted drafts
    agreement: float  # share of labels that are the target's own choice


def score(
    target: Model,
    drafter: Drafter,
    source: Traced,
    blocks: Blocks,
    rounded: bool,
    dtype: torch.dtype,
) -> Score:
    """The loss of DSpark's training on the blocks of a batch."""
    inputs, valid = source.batch[0], blocks.valid
    size = valid.shape[2]
    with precision_of(dtype):
        states = drafter(target, inputs, source.taps, blocks.places, rounded)[valid]
        logits = drafter.base_logits(target, states)
        correction, confidence = drafter.follow(states, blocks.previous[valid])
    logits = logits + correction
    labels = blocks.labels[valid]
    rows = (blocks.places[..., None] + torch.arange(size)).clamp(max=inputs.shape[1] - 1)
    sequence = torch.arange(len(inputs))[:, None, None].expand_as(rows)
    with torch.no_grad():
        judge = target.logits(source.finals[sequence[valid], rows[valid]].float())
        agreement = (judge.argmax(-1) == labels).float().mean().item()
        chances = judge.softmax(-1)
    distance = (logits.softmax(-1) - chances).abs().sum(-1)
    accepted = 1 - distance.detach() / 2
    losses = (
        CE_SHARE * F.cross_entropy(logits, labels, reduction="none")
        + L1_SHARE * distance
        + CONFIDENCE_SHARE
        * F.binary_cross_entropy_with_logits(confidence, accepted, reduction="none")
    )
    weights = torch.exp(-torch.arange(size) / size).expand(valid.shape)[valid]
    survival = torch.zeros(valid.shape)
    survival[valid] = accepted
    length = 1 + survival.cumprod(2).sum() / valid[..., 0].sum()
    return Score((losses * weights).sum() / weights.sum(), length.item(), agreement)


def main() -> None:
    """Trains until the minutes are used up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=Path(__file__).parent / "model")
    parser.add_argument("--run", type=Path, required=True, help="folder for the state and the log")
    parser.add_argument("--stages", type=int, default=2)
    parser.add_argument("--rank", type=int, help="of the Markov head; default: the config's")
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--matrix-rate", type=float, default=MATRIX_RATE)
    parser.add_argument("--other-rate", type=float, default=OTHER_RATE)
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
    digest = checkpoint.target_digest(arguments.model)
    if state is not None and state["target"] != digest:
        parser.error(f"{state_path} belongs to another target: use another --run")
    target = checkpoint.load(arguments.model).requires_grad_(False)
    stages = state["stages"] if state is not None else arguments.stages
    rank = state["rank"] if state is not None else arguments.rank
    rank = rank or target.config.dspark_markov_rank
    drafter = Drafter(replace(target.config, dspark_markov_rank=rank), stages)
    matrices, others = parameter_groups(drafter)
    muon = Muon(matrices, lr=arguments.matrix_rate, decay=0.1, dtype=dtype)
    adam = torch.optim.AdamW(others, lr=arguments.other_rate, betas=(0.9, 0.95), weight_decay=0.0)
    step, elapsed = 0, 0.0
    if state is None:
        start_from_target(drafter, target)
    else:
        drafter.load_state_dict(state["drafter"])
        muon.load_state_dict(state["muon"])
        adam.load_state_dict(state["adam"])
        step, elapsed = state["step"], state["elapsed"]
    log = (arguments.run / "drafter.jsonl").open("a")
    with precision_of(dtype):
        probes = evaluation_examples(PROBE_SEED, PROBE_COUNT, published_keys())
        probes = [example for example in probes if example.task in PROBE_TASKS]
        texts = greedy_texts(target, encoder, probes, True)

    def save() -> None:
        torch.save(
            {
                "drafter": drafter.state_dict(),
                "muon": muon.state_dict(),
                "adam": adam.state_dict(),
                "step": step,
                "elapsed": elapsed,
                "stages": stages,
                "rank": rank,
                "target": digest,
            },
            state_path.with_suffix(".part"),
        )
        state_path.with_suffix(".part").replace(state_path)

    def probe(rounds_weights: bool, rounded: bool) -> None:
        drafter.eval()
        with precision_of(dtype), rounded_weights(drafter, rounds_weights):
            counts = acceptance(target, drafter, texts, encoder.eos, rounded)
        lengths = {kind: round(count.length(), 2) for kind, count in counts.items()}
        record(log, step=step, acceptance_length=lengths)

    generator = torch.Generator().manual_seed(arguments.seed + step)
    size, taps = drafter.config.dspark_block_size, drafter.config.dspark_target_layer_ids
    batches = training_batches(encoder, examples(arguments.seed, step))
    sources = with_earlier(
        (traced(target, batch, taps, dtype) for batch in batches), arguments.seed + step
    )
    seconds = 60 * arguments.minutes
    shown: list[tuple[float, float, float]] = []
    saved = probed = elapsed
    while elapsed < seconds:
        begin = time.monotonic()
        progress = elapsed / seconds
        rounds_weights = progress >= WEIGHT_ROUNDING_FROM
        rounded = progress >= ACTIVATION_ROUNDING_FROM
        source = next(sources)
        blocks = choose_blocks(source.batch, size, ANCHORS_MAX, generator)
        drafter.train()
        with rounded_weights(drafter, rounds_weights):
            result = score(target, drafter, source, blocks, rounded, dtype)
            result.loss.backward()
        shown.append((result.loss.item(), result.length, result.agreement))
        factor = min(1.0, (step + 1) / WARM_UP_STEPS) * linear_decay(progress)
        for optimizer, peak in ((muon, arguments.matrix_rate), (adam, arguments.other_rate)):
            for group in optimizer.param_groups:
                group["lr"] = peak * factor
        torch.nn.utils.clip_grad_norm_(others, 1.0)
        muon.step()
        adam.step()
        muon.zero_grad()
        adam.zero_grad()
        balance(drafter, BALANCE_RATE * factor)
        step += 1
        elapsed += time.monotonic() - begin
        if step % STEPS_SHOWN == 0:
            loss, length, agreement = (sum(values) / len(shown) for values in zip(*shown))
            record(
                log,
                step=step,
                minutes=round(elapsed / 60, 2),
                loss=round(loss, 4),
                predicted_length=round(length, 3),
                labels_chosen_by_target=round(agreement, 4),
            )
            if not math.isfinite(loss):
                raise FloatingPointError("the loss is not finite")
            shown = []
        if elapsed - probed > SECONDS_BETWEEN_PROBES:
            probed = elapsed
            probe(rounds_weights, rounded)
        if elapsed - saved > SECONDS_BETWEEN_SAVES:
            saved = elapsed
            save()
    save()
    probe(True, True)


if __name__ == "__main__":
    main()
