"""Turns conversations into padded token batches with loss weights."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from tokenizers import Tokenizer

from chat_format import ASSISTANT, EOS
from tasks import Example

PROMPT_WEIGHT = 0.03
PADDED_TO = 16
BATCH_TOKENS = 1792
LENGTHS = (32, 48, 64, 80, 96, 128, 160, 224, 320, 352, 384, 448, 512)


class Encoder:
    """Tokenises conversations and weighs their tokens."""

    def __init__(self, tokenizer_path: Path) -> None:
        self.tokenizer = Tokenizer.from_file(str(tokenizer_path))
        self.assistant = self.tokenizer.token_to_id(ASSISTANT)
        self.eos = self.tokenizer.token_to_id(EOS)

    def ids(self, text: str) -> list[int]:
        """Token ids of a text; nothing is added."""
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    def weights(self, ids: list[int]) -> list[float]:
        """1 for every token an assistant writes, little for the rest.

        The think tag after the assistant's header belongs to the prompt.
        """
        weights, speaking = [], False
        for place, token in enumerate(ids):
            is_tag = place > 0 and ids[place - 1] == self.assistant
            weights.append(1.0 if speaking and not is_tag else PROMPT_WEIGHT)
            if token == self.assistant:
                speaking = True
            elif token == self.eos:
                speaking = False
        return weights


Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


def padded(rows: list[tuple[list[int], list[float]]], length: int, pad: int) -> Batch:
    """Inputs, targets and target weights [rows, length]."""
    inputs = torch.full((len(rows), length), pad)
    targets = torch.full((len(rows), length), pad)
    weights = torch.zeros(len(rows), length)
    for row, (ids, weight) in enumerate(rows):
        inputs[row, : len(ids) - 1] = torch.tensor(ids[:-1])
        targets[row, : len(ids) - 1] = torch.tensor(ids[1:])
        weights[row, : len(ids) - 1] = torch.tensor(weight[1:])
    return inputs, targets, weights


def training_batches(encoder: Encoder, examples: Iterator[Example]) -> Iterator[Batch]:
    """Batches of examples of similar length, of `BATCH_TOKENS` tokens each at most.

    There is one shape for each of `LENGTHS`, so that the library prepares its kernels once.
    Longer examples are left out.
    """
    waiting: dict[int, list[tuple[list[int], list[float]]]] = {length: [] for length in LENGTHS}
    for example in examples:
        ids = encoder.ids(example.prompt() + example.answer())
        length = next((length for length in LENGTHS if len(ids) <= length + 1), None)
        if length is None:
            continue
        waiting[length].append((ids, encoder.weights(ids)))
        if (len(waiting[length]) + 1) * length > BATCH_TOKENS:
            yield padded(waiting[length], length, encoder.eos)
            waiting[length] = []


def answer_batch(encoder: Encoder, examples: list[Example]) -> Batch:
    """A batch whose weights mark the last answer alone."""
    rows = []
    for example in examples:
        prompt, answer = encoder.ids(example.prompt()), encoder.ids(example.answer())
        rows.append((prompt + answer, [0.0] * len(prompt) + [1.0] * len(answer)))
    longest = max(len(ids) for ids, _ in rows) - 1
    return padded(rows, -(-longest // PADDED_TO) * PADDED_TO, encoder.eos)
