"""Measures the exported drafter with the PyTorch forward pass, without the engine.

Target and drafter are decoded from their files and round as the engine does. Reported are the
acceptance length of greedy drafting, which is tokens per step of the target, per task in chat mode
and for all tasks in thinking mode, on held-out prompts that `evaluation.json` lacks.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import checkpoint
from acceptance import acceptance, greedy_texts
from batches import Encoder
from tasks import evaluation_examples, published_keys
from wide_products import WideProducts


def main() -> None:
    """Prints a table of acceptance lengths."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", type=Path, default=Path(__file__).parent / "model")
    parser.add_argument("--count", type=int, default=50, help="prompts of each task")
    parser.add_argument("--seed", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    target = checkpoint.load(arguments.model)
    drafter = checkpoint.load_drafter(arguments.model)
    encoder = Encoder(arguments.model / "tokenizer.json")
    examples = evaluation_examples(arguments.seed, arguments.count, published_keys())
    with WideProducts(), torch.autocast("cpu", dtype=torch.bfloat16):
        texts = greedy_texts(target, encoder, examples, True)
        counts = acceptance(target, drafter, texts, encoder.eos, True)
    print(f"{'class':14} {'steps':>7} {'tokens':>7} {'acceptance length':>18}")
    for kind, count in counts.items():
        print(f"{kind:14} {count.steps:7} {count.emitted:7} {count.length():18.2f}")


if __name__ == "__main__":
    main()
