"""Measures the exported checkpoint with the PyTorch forward pass, without the engine.

The weights are decoded from the files and the activations, the cache entries and the residual
streams are rounded as the engine rounds them (bf16, FP8 groups). Reported is greedy exactness per
task: the answer, think text included, equals the expected one token for token.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch

import checkpoint
from batches import Encoder
from scoring import by_task, exact
from tasks import evaluation_examples, published_keys
from wide_products import WideProducts


def print_share(what: str, hits: int, total: int) -> None:
    """One line of the table."""
    print(f"{what:14} {hits:4} / {total:4} = {hits / total:6.1%}")


def main() -> None:
    """Prints a table of exact answers per task."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", type=Path, default=Path(__file__).parent / "model")
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument(
        "--unpublished",
        action="store_true",
        help="only held-out prompts that evaluation.json lacks; take another seed with it",
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--full-precision", action="store_true", help="float32 without any rounding"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = checkpoint.load(arguments.model)
    encoder = Encoder(arguments.model / "tokenizer.json")
    without = published_keys() if arguments.unpublished else set()
    examples = evaluation_examples(arguments.seed, arguments.count, without)
    begin = time.monotonic()
    rounded = not arguments.full_precision
    with WideProducts(), torch.autocast("cpu", dtype=torch.bfloat16, enabled=rounded):
        right = exact(model, encoder, examples, rounded)
    print(f"{len(examples)} prompts in {time.monotonic() - begin:.0f} s")
    for task, (hits, total) in by_task(examples, right).items():
        print_share(task, hits, total)
    for thinking in (False, True):
        chosen = [hit for example, hit in zip(examples, right) if example.thinking == thinking]
        print_share("thinking mode" if thinking else "chat mode", sum(chosen), len(chosen))


if __name__ == "__main__":
    main()
