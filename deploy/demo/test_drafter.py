"""Checks the PyTorch drafter against the golden sets, its window, its loss and its storing."""

from __future__ import annotations

import json
import math
import shutil
import sys
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file

import checkpoint
from acceptance import Count, greedy_texts, walk
from batches import Encoder, training_batches
from drafter import Drafter
from golden import golden_path
from model import Config, Model
from tasks import evaluation_examples
from train_drafter import choose_blocks, examples, score, traced

MODEL = Path(__file__).parent / "model"
NOISE_TOKEN = "<｜place▁holder▁no▁799｜>"
EXAMPLES = 500
BYTES_MAX = 12e6
TOLERANCE = 1e-3
SETS = {"dspark-a": ("p2", "p9"), "dspark-c": ("p6",)}


def check_golden(folder: Path, names: tuple[str, ...]) -> None:
    """Taps, corrected logits, confidences and drafts of every step, in float64."""
    target = checkpoint.load(folder, torch.float64)
    drafter = checkpoint.load_drafter(folder, torch.float64)
    vectors = load_file(folder / "vectors.safetensors")
    prompts = json.loads((folder / "vectors.json").read_text())["prompts"]
    for name in names:
        ids = torch.tensor([prompts[name]["sequence"]])
        assert target.attend_all_entries(ids.shape[1])
        expected = {w: vectors[f"hp/{name}/{w}"] for w in ("main_hidden", "logits", "confidence")}
        steps = len(expected["logits"])
        places = torch.arange(ids.shape[1] - steps, ids.shape[1])[None]
        with torch.no_grad():
            _, taps = target.trace(ids, False, drafter.config.dspark_target_layer_ids)
            states = drafter(target, ids, taps, places, False)
            draft = drafter.draft(target, states, ids.gather(1, places))
        found = {
            "main_hidden": torch.cat(taps, -1)[0, places[0] - 1],
            "logits": draft.logits[0],
            "confidence": draft.confidence[0],
        }
        for what, value in expected.items():
            error = (found[what] - value).abs().max().item()
            print(f"{folder.name} {name}: largest difference of {what} {error:.1e}")
            assert error < TOLERANCE, (folder.name, name, what, error)
        drafts = vectors[f"hp/{name}/draft_ids"][:, 1:]
        assert draft.ids[0].tolist() == drafts.tolist(), (folder.name, name)


def check_window() -> None:
    """A block depends on the window before its anchor, on the anchor, and on nothing else."""
    torch.manual_seed(1)
    config = Config.load(MODEL / "config.json")
    target, drafter = Model(config).double(), Drafter(config, 2).double()
    tokens, anchor = 200, 150
    ids = torch.randint(config.vocab_size, (1, tokens))
    taps = [torch.randn(1, tokens, config.hidden_size).double() for _ in range(3)]

    def states(ids: torch.Tensor, taps: list[torch.Tensor], places: list[int]) -> torch.Tensor:
        with torch.no_grad():
            return drafter(target, ids, taps, torch.tensor([places]), False)

    alone = states(ids, taps, [anchor])
    assert torch.allclose(states(ids, taps, [anchor - 2, anchor, 0])[:, 1:2], alone)
    oldest = anchor - config.sliding_window
    for place in (0, oldest - 1, oldest, anchor - 1, anchor, anchor + 1, tokens - 1):
        changed = [tap.clone() for tap in taps]
        changed[1][:, place] += 1
        is_seen = oldest <= place < anchor
        assert torch.equal(states(ids, changed, [anchor]), alone) != is_seen, place
    for place in (anchor - 1, anchor, anchor + 1):
        changed = ids.clone()
        changed[0, place] = (changed[0, place] + 1) % config.vocab_size
        assert torch.equal(states(changed, taps, [anchor]), alone) == (place != anchor), place


def check_blocks(encoder: Encoder) -> None:
    """Labels are what the assistant writes after the anchor; the loss is that of single blocks."""
    config = Config.load(MODEL / "config.json")
    target = checkpoint.load(MODEL)
    drafter = Drafter(config, 2)
    size = config.dspark_block_size
    batch = next(training_batches(encoder, examples(3, 0)))
    blocks = choose_blocks(batch, size, 4, torch.Generator().manual_seed(5))
    inputs, targets, weights = batch
    source = traced(target, batch, config.dspark_target_layer_ids, torch.float32)
    total, weight_sum, lengths = 0.0, 0.0, []
    with torch.no_grad():
        result = score(target, drafter, source, blocks, False, torch.float32)
        finals, taps = target.trace(inputs, True, config.dspark_target_layer_ids)
        for row, places in enumerate(blocks.places.tolist()):
            for block, place in enumerate(places):
                valid = blocks.valid[row, block].tolist()
                if not valid[0]:
                    continue
                assert weights[row, place - 1] == 1
                one = slice(row, row + 1)
                anchor = torch.tensor([[place]])
                states = drafter(target, inputs[one], [t[one] for t in taps], anchor, False)[0, 0]
                base = drafter.base_logits(target, states)
                length, survival = 1.0, 1.0
                for k in range(valid.index(False) if False in valid else size):
                    assert weights[row, place + k] == 1
                    label = targets[row, place + k]
                    correction, certain = drafter.follow(states[k], inputs[row, place + k])
                    drafted = (base[k] + correction).softmax(-1)
                    wanted = target.logits(finals[row, place + k]).softmax(-1)
                    shared = torch.minimum(drafted, wanted).sum()
                    loss = 0.1 * -drafted[label].log() + 0.9 * 2 * (1 - shared)
                    loss -= shared * certain.sigmoid().log()
                    loss -= (1 - shared) * (-certain).sigmoid().log()
                    total += math.exp(-k / size) * loss
                    weight_sum += math.exp(-k / size)
                    survival *= shared
                    length += survival
                assert False not in valid or not any(valid[valid.index(False) :])
                lengths.append(float(length))
    difference = abs(float(total / weight_sum - result.loss))
    print(f"loss of {len(lengths)} blocks: difference from single blocks {difference:.1e}")
    assert difference < 1e-4
    assert abs(sum(lengths) / len(lengths) - result.length) < 1e-3


def check_acceptance(encoder: Encoder) -> None:
    """Greedy texts are those of token-by-token decoding, and the walk meets the right anchors."""
    target = checkpoint.load(MODEL)
    chosen = [e for e in evaluation_examples(7, 2) if e.task in ("sums", "json")]
    for example, text in zip(chosen, greedy_texts(target, encoder, chosen, False)):
        ids = encoder.ids(example.prompt())
        assert text.prompt == ids
        with torch.no_grad():
            while ids[-1] != encoder.eos:
                states = target(torch.tensor([ids]), False)[0, -1]
                ids.append(int(target.logits(states).argmax()))
        assert text.answer == ids[len(text.prompt) :], example.answer()
    assert walk([]) == Count(0, 0)
    assert walk([0, 0, 0]) == Count(3, 3)
    assert walk([5, 9, 9, 9, 9, 9, 1, 9, 0]) == Count(3, 9)
    assert walk([2, 9, 9, 1]) == Count(2, 4)


def check_storing() -> None:
    """A stored drafter comes back as rounded, in 12 MB, and the target stays as it is."""
    torch.manual_seed(2)
    drafter = Drafter(Config.load(MODEL / "config.json"), 2)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in MODEL.iterdir():
            shutil.copy(path, folder)
        digest = checkpoint.target_digest(folder)
        before = checkpoint.without_drafter(checkpoint.read(folder))
        for _ in range(2):
            checkpoint.save_drafter(drafter, folder)
        assert checkpoint.target_digest(folder) == digest
        stored = checkpoint.read(folder)
        drafted = stored.keys() - before.keys()
        assert all(name.startswith("mtp.") for name in drafted)
        size = sum(stored[name].nbytes for name in drafted)
        print(f"{len(drafted)} tensors of the drafter, {size} bytes")
        assert size < BYTES_MAX
        files = sorted(path.name for path in folder.glob("*.safetensors"))
        assert files == [f"model-{i + 1:05d}-of-00003.safetensors" for i in range(3)]
        loaded = checkpoint.load_drafter(folder).state_dict()
        for key, value in drafter.state_dict().items():
            rounded = checkpoint.rounded_weight(drafter, key, value)
            if rounded is None:
                rounded = value.bfloat16().float() if key.endswith("weight") else value
            assert torch.equal(loaded[key], rounded), key
        config = json.loads((folder / "config.json").read_text())
        assert config["compress_ratios"][config["num_hidden_layers"] :] == [0, 0]
        checkpoint.save(checkpoint.load(folder), folder)
        assert len(list(folder.glob("*.safetensors"))) == 2


def check_noise_token(encoder: Encoder) -> None:
    """The noise token is one of the vocabulary that no conversation holds."""
    noise = Config.load(MODEL / "config.json").dspark_noise_token_id
    assert encoder.tokenizer.id_to_token(noise) == NOISE_TOKEN
    stream = examples(8, 0)
    for _ in range(EXAMPLES):
        example = next(stream)
        assert noise not in encoder.ids(example.prompt() + example.answer())


def main() -> int:
    """Runs the checks; those on golden data only where it is."""
    encoder = Encoder(MODEL / "tokenizer.json")
    check_window()
    check_blocks(encoder)
    check_acceptance(encoder)
    check_storing()
    check_noise_token(encoder)
    for name, prompts in SETS.items():
        if (folder := golden_path(name)) is not None:
            check_golden(folder, prompts)
        else:
            print(f"{name}: SKIPPED, no golden drafter (set SPARKSPAN_GOLDEN_DIR)")
    print("drafter: all checks passed")
    return 0


if __name__ == "__main__":
    sys.exit(main())
