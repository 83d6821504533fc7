"""How far greedy drafting gets, in PyTorch: the acceptance length per class of prompts.

Whatever is drafted, the text is the target's greedy one. That text is made first; one pass of
target and drafter over it then gives the drafts for every anchor, and a walk along the anchors that
a server would meet counts the steps.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from batches import PADDED_TO, Encoder
from drafter import Drafter
from model import Model
from tasks import Example

TEXTS_PER_PASS = 20
ANSWER_TOKENS_MAX = 96
THINKING = "thinking"


@dataclass
class Text:
    """A prompt and the target's greedy answer; the end token belongs to it."""

    kind: str
    prompt: list[int]
    answer: list[int]


def kind_of(example: Example) -> str:
    """The class an example counts for: its task, or thinking mode whatever the task."""
    return THINKING if example.thinking else example.task


def passes(texts: list[Text], eos: int) -> Iterator[tuple[list[Text], torch.Tensor]]:
    """Texts of similar length and their padded ids [texts, tokens]."""
    ordered = sorted(texts, key=lambda text: len(text.prompt) + len(text.answer))
    for first in range(0, len(ordered), TEXTS_PER_PASS):
        chosen = ordered[first : first + TEXTS_PER_PASS]
        longest = max(len(text.prompt) + len(text.answer) for text in chosen)
        ids = torch.full((len(chosen), -(-longest // PADDED_TO) * PADDED_TO), eos)
        for row, text in zip(ids, chosen):
            row[: len(text.prompt) + len(text.answer)] = torch.tensor(text.prompt + text.answer)
        yield chosen, ids


def corrected(text: Text, best: list[int], eos: int) -> bool:
    """Puts the target's choice at the first place where the answer differs; whether it is done.

    `best` holds the target's choices for the places of the answer and the one after it.
    """
    for place, (token, choice) in enumerate(zip(text.answer, best)):
        if token != choice:
            text.answer[place] = choice
            if choice == eos:
                del text.answer[place + 1 :]
            return choice == eos
    if text.answer[-1] != eos and len(text.answer) < ANSWER_TOKENS_MAX:
        text.answer.append(best[len(text.answer)])
    return text.answer[-1] == eos or len(text.answer) >= ANSWER_TOKENS_MAX


@torch.no_grad()
def greedy_texts(
    target: Model, encoder: Encoder, examples: list[Example], rounded: bool
) -> list[Text]:
    """The target's greedy answers, found by correcting the expected ones from the front."""
    texts = [
        Text(kind_of(e), encoder.ids(e.prompt()), encoder.ids(e.answer())) for e in examples
    ]
    waiting = texts
    while waiting:
        unfinished = []
        for chosen, ids in passes(waiting, encoder.eos):
            best = target.logits(target(ids, rounded)).argmax(-1)
            for text, row in zip(chosen, best):
                first = len(text.prompt) - 1
                choices = row[first : first + len(text.answer) + 1].tolist()
                if not corrected(text, choices, encoder.eos):
                    unfinished.append(text)
        waiting = unfinished
    return texts


@dataclass
class Count:
    """Steps of the target that drafts preceded, and the tokens they emitted."""

    steps: int = 0
    emitted: int = 0

    def length(self) -> float:
        """The acceptance length."""
        return self.emitted / max(self.steps, 1)


def walk(accepted: list[int]) -> Count:
    """The steps along an answer, by the number of accepted drafts for each of its anchors.

    The last token of the answer has no anchor's entry: nothing follows it.
    """
    count, place = Count(), 0
    while place < len(accepted):
        after = min(place + accepted[place] + 1, len(accepted))
        count.steps += 1
        count.emitted += after - place
        place = after
    return count


@torch.no_grad()
def acceptance(
    target: Model, drafter: Drafter, texts: list[Text], eos: int, rounded: bool
) -> dict[str, Count]:
    """Steps and tokens of greedy drafting per class."""
    size = drafter.config.dspark_block_size
    counts: dict[str, Count] = {}
    for chosen, ids in passes(texts, eos):
        _, taps = target.trace(ids, rounded, drafter.config.dspark_target_layer_ids)
        anchors = max(len(text.answer) for text in chosen) - 1
        first = torch.tensor([len(text.prompt) for text in chosen])
        places = (first[:, None] + torch.arange(anchors)).clamp(max=ids.shape[1] - 1)
        states = drafter(target, ids, taps, places, rounded)
        drafts = drafter.draft(target, states, ids.gather(1, places)).ids
        for text, rows in zip(chosen, drafts.tolist()):
            accepted = []
            for anchor in range(len(text.answer) - 1):
                following = text.answer[anchor + 1 : anchor + 1 + size]
                hits = [a == b for a, b in zip(rows[anchor], following)] + [False]
                accepted.append(hits.index(False))
            count = walk(accepted)
            total = counts.setdefault(text.kind, Count())
            total.steps += count.steps
            total.emitted += count.emitted
    return counts
