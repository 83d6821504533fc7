"""Writes the trained state as a checkpoint in the published format."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

import checkpoint
from model import Config, Model


def main() -> None:
    """Reads a training state and writes shards and index next to the model's config.json."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", type=Path, default=Path(__file__).parent / "model")
    parser.add_argument("--run", type=Path, required=True, help="folder given to train.py")
    parser.add_argument("--out", type=Path, help="default: the model folder")
    arguments = parser.parse_args()
    model = Model(Config.load(arguments.model / "config.json"))
    state = torch.load(arguments.run / "state.pt", weights_only=True)
    model.load_state_dict(state["model"])
    out = arguments.out or arguments.model
    checkpoint.save(model, out)
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"step {state['step']}: {out} holds {size} bytes")


if __name__ == "__main__":
    main()
