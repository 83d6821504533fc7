"""Checks the PyTorch forward pass and the checkpoint reader against the golden model."""

from __future__ import annotations

import json
import sys

import torch
from safetensors.torch import load_file

import checkpoint
from golden import golden_path

TOLERANCE = 1e-3
PROMPTS = ("p7", "p130", "p300")


def main() -> int:
    """Compares prefill logits in float64; prints and returns a failure count."""
    folder = golden_path("model-a")
    if folder is None:
        print("SKIPPED: no golden model (set SPARKSPAN_GOLDEN_DIR)")
        return 0
    model = checkpoint.load(folder, torch.float64)
    prompts = json.loads((folder / "vectors.json").read_text())["prompts"]
    vectors = load_file(folder / "vectors.safetensors")
    failures = 0
    for name in PROMPTS:
        tokens = prompts[name]["tokens"]
        if not model.attend_all_entries(len(tokens)):
            print(f"{name}: SKIPPED, {len(tokens)} tokens need the indexer")
            continue
        with torch.no_grad():
            logits = model.logits(model(torch.tensor([tokens]), False)[0, -1])
        error = (logits - vectors[f"hp/{name}/prefill_logits"]).abs().max().item()
        failures += error > TOLERANCE
        print(f"{name}: largest logit difference {error:.2e}")
    return failures


if __name__ == "__main__":
    sys.exit(main())
