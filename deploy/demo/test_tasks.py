"""Checks the generator and the tokenizer: the split by hash, single digits, round trips."""

from __future__ import annotations

import json
import random
import sys
from pathlib import Path

from tokenizers import Tokenizer

from tasks import (
    CONTINUING_SHARES,
    HELD_OUT_SHARE,
    TRAINING_SHARES,
    is_unseen_tool,
    published_keys,
    share_of,
    training_example,
)
from train_tokenizer import ADDED, BASE_SPECIAL

FOLDER = Path(__file__).parent
SAMPLES = 1000


def check_split() -> None:
    """Held-out prompts hash to the held-out share; training examples never do."""
    held_out = published_keys()
    assert all(share_of(key) < HELD_OUT_SHARE for key in held_out)
    rng = random.Random(3)
    for shares in (TRAINING_SHARES, CONTINUING_SHARES):
        for _ in range(SAMPLES):
            example = training_example(rng, shares)
            assert example.key() not in held_out
            assert not any(is_unseen_tool(tool["function"]["name"]) for tool in example.tools)


def check_tokenizer() -> None:
    """Every digit and every added token is one token, and text comes back unchanged."""
    tokenizer = Tokenizer.from_file(str(FOLDER / "model/tokenizer.json"))
    ids = tokenizer.encode("1234567", add_special_tokens=False).ids
    assert len(ids) == 7, ids
    for content in BASE_SPECIAL + ADDED:
        assert tokenizer.encode(content, add_special_tokens=False).ids == [
            tokenizer.token_to_id(content)
        ], content
    rng = random.Random(5)
    for _ in range(SAMPLES):
        example = training_example(rng, TRAINING_SHARES)
        prompt, answer = example.prompt(), example.answer()
        parts = [tokenizer.encode(text, add_special_tokens=False).ids for text in (prompt, answer)]
        whole = tokenizer.encode(prompt + answer, add_special_tokens=False).ids
        assert parts[0] + parts[1] == whole
        assert tokenizer.decode(whole, skip_special_tokens=False) == prompt + answer


def main() -> int:
    """Runs the checks."""
    check_split()
    check_tokenizer()
    print("generator and tokenizer: all checks passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
