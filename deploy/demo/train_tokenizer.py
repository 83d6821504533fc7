"""Trains the demo model's byte-level BPE and writes the tokenizer files of the model folder.

The structure is that of the DeepSeek-V4 tokenizer: the same pre-tokenizer, the same added tokens
without the placeholders (except the one that a DSpark drafter uses as its mask). Digits are left
out of the training text, so that every digit stays a token of its own.
"""

from __future__ import annotations

import argparse
import json
import random
import re
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from chat_format import BOS, EOS, PAD
from tasks import training_example

VOCABULARY = 1024
CORPUS_EXAMPLES = 6000
CORPUS_SEED = 1
CORPUS_SHARES = {
    "counting": 0.16,
    "sorting": 0.10,
    "sums": 0.12,
    "json": 0.20,
    "code": 0.07,
    "repeat": 0.07,
    "facts": 0.06,
    "small talk": 0.05,
    "tools": 0.17,
}

BASE_SPECIAL = [BOS, EOS, PAD]
NOISE_TOKEN = "<｜place▁holder▁no▁799｜>"
END_OF_QUERY = "<｜end_of_query｜>"
ADDED = [
    NOISE_TOKEN,
    "<｜fim▁hole｜>",
    "<｜fim▁begin｜>",
    "<｜fim▁end｜>",
    "<｜User｜>",
    "<｜Assistant｜>",
    "<|EOT|>",
    "<｜tool▁calls▁begin｜>",
    "<｜tool▁calls▁end｜>",
    "<｜tool▁call▁begin｜>",
    "<｜tool▁call▁end｜>",
    "<｜tool▁outputs▁begin｜>",
    "<｜tool▁outputs▁end｜>",
    "<｜tool▁output▁begin｜>",
    "<｜tool▁output▁end｜>",
    "<｜tool▁sep｜>",
    "<think>",
    "</think>",
    "｜DSML｜",
    "<｜latest_reminder｜>",
    "<｜action｜>",
    "<｜query｜>",
    "<｜authority｜>",
    "<｜domain｜>",
    "<｜title｜>",
    "<｜extracted_url｜>",
    "<｜read_url｜>",
    END_OF_QUERY,
]
SPECIAL = {*BASE_SPECIAL, NOISE_TOKEN, END_OF_QUERY}

SPLITS = [
    r"\p{N}{1,3}",
    "[一-龥\u3040-ゟ゠-ヿ]+",
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+",
]


def pre_tokenizer() -> pre_tokenizers.PreTokenizer:
    """The splits of the real tokenizer, then the byte alphabet."""
    return pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in SPLITS]
        + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)]
    )


def corpus() -> list[str]:
    """Training text without digits, cut at the added tokens."""
    rng = random.Random(CORPUS_SEED)
    cut = re.compile("|".join(map(re.escape, [*BASE_SPECIAL, *ADDED])))
    pieces: list[str] = []
    for _ in range(CORPUS_EXAMPLES):
        example = training_example(rng, CORPUS_SHARES)
        text = re.sub(r"\d", "", example.prompt() + example.answer())
        pieces += [piece for piece in cut.split(text) if piece]
    return pieces


def added_token(index: int, content: str) -> dict[str, Any]:
    """An entry of `added_tokens`."""
    special = content in SPECIAL
    return {
        "id": index,
        "content": content,
        "single_word": False,
        "lstrip": False,
        "rstrip": False,
        "normalized": not special,
        "special": special,
    }


def build() -> dict[str, Any]:
    """The content of tokenizer.json."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.Sequence([])
    tokenizer.pre_tokenizer = pre_tokenizer()
    tokenizer.decoder = decoders.ByteLevel()
    base = VOCABULARY - len(ADDED)
    trainer = trainers.BpeTrainer(
        vocab_size=base,
        special_tokens=BASE_SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus(), trainer)
    content = json.loads(tokenizer.to_str())
    content["post_processor"] = {
        "type": "ByteLevel",
        "add_prefix_space": True,
        "trim_offsets": False,
        "use_regex": True,
    }
    content["model"].pop("ignore_merges", None)
    content["model"]["merges"] = [" ".join(merge) for merge in content["model"]["merges"]]
    first = len(content["model"]["vocab"])
    if first != base:
        raise ValueError(f"the corpus gives {first} base tokens, not {base}")
    content["added_tokens"] = [added_token(i, text) for i, text in enumerate(BASE_SPECIAL)]
    content["added_tokens"] += [added_token(first + i, text) for i, text in enumerate(ADDED)]
    return content


def special_entry(content: str) -> dict[str, Any]:
    """A token of tokenizer_config.json."""
    return {
        "__type": "AddedToken",
        "content": content,
        "lstrip": False,
        "normalized": True,
        "rstrip": False,
        "single_word": False,
    }


def main() -> None:
    """Writes tokenizer.json and tokenizer_config.json."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "model")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "tokenizer.json"
    path.write_text(json.dumps(build(), ensure_ascii=False, indent=1) + "\n")
    config = {
        "add_bos_token": False,
        "add_eos_token": False,
        "bos_token": special_entry(BOS),
        "clean_up_tokenization_spaces": False,
        "eos_token": special_entry(EOS),
        "legacy": True,
        "model_max_length": 8192,
        "pad_token": special_entry(EOS),
        "sp_model_kwargs": {},
        "unk_token": None,
        "tokenizer_class": "PreTrainedTokenizerFast",
    }
    text = json.dumps(config, ensure_ascii=False, indent=2)
    (arguments.out / "tokenizer_config.json").write_text(text + "\n")
    print(f"{path}: {Tokenizer.from_file(str(path)).get_vocab_size()} tokens")


if __name__ == "__main__":
    main()
