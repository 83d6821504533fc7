"""Greedy exactness of a model on held-out examples.

An answer is exactly right under greedy decoding if and only if the expected next token is the most
likely one at every place of the expected answer; one forward pass over prompt and answer shows it.
"""

from __future__ import annotations

import torch

from batches import Encoder, answer_batch
from model import Model
from tasks import Example

EXAMPLES_PER_PASS = 20


@torch.no_grad()
def exact(model: Model, encoder: Encoder, examples: list[Example], rounded: bool) -> list[bool]:
    """Whether greedy decoding gives each expected answer token for token."""
    model.eval()
    order = sorted(range(len(examples)), key=lambda i: len(examples[i].prompt()))
    right = [False] * len(examples)
    for first in range(0, len(order), EXAMPLES_PER_PASS):
        places = order[first : first + EXAMPLES_PER_PASS]
        inputs, targets, weights = answer_batch(encoder, [examples[i] for i in places])
        best = model.logits(model(inputs, rounded)).argmax(-1)
        hits = ((best == targets) | (weights == 0)).all(1).tolist()
        for place, hit in zip(places, hits):
            right[place] = hit
    return right


def by_task(examples: list[Example], right: list[bool]) -> dict[str, tuple[int, int]]:
    """Right answers and all answers of each task."""
    counts: dict[str, tuple[int, int]] = {}
    for example, hit in zip(examples, right):
        hits, total = counts.get(example.task, (0, 0))
        counts[example.task] = (hits + hit, total + 1)
    return counts
