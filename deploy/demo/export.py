"""Writes trained states as a checkpoint in the published format."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch

import checkpoint
from drafter import Drafter
from model import Config, Model
from train import STATE_FILE
from train_drafter import STATE_FILE as DRAFTER_STATE_FILE


def main() -> None:
    """Writes the target, or adds the drafter to it: shards and index beside a config.json."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--model", type=Path, default=Path(__file__).parent / "model")
    run = parser.add_mutually_exclusive_group(required=True)
    run.add_argument("--run", type=Path, help="folder given to train.py")
    run.add_argument("--drafter-run", type=Path, help="folder given to train_drafter.py")
    parser.add_argument("--out", type=Path, help="default: the model folder")
    arguments = parser.parse_args()
    out = arguments.out or arguments.model
    config = Config.load(arguments.model / "config.json")
    if arguments.run:
        state = torch.load(arguments.run / STATE_FILE, weights_only=True)
        model = Model(config)
        model.load_state_dict(state["model"])
        checkpoint.save(model, out)
    else:
        state = torch.load(arguments.drafter_run / DRAFTER_STATE_FILE, weights_only=True)
        if state["target"] != checkpoint.target_digest(out):
            parser.error(f"the drafter was trained on another target than {out}: train it anew")
        drafter = Drafter(replace(config, dspark_markov_rank=state["rank"]), state["stages"])
        drafter.load_state_dict(state["drafter"])
        checkpoint.save_drafter(drafter, out)
    size = sum(path.stat().st_size for path in out.iterdir())
    print(f"step {state['step']}: {out} holds {size} bytes")


if __name__ == "__main__":
    main()
