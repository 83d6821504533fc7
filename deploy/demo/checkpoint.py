"""Reads and writes checkpoints in the published DeepSeek-V4-Flash format."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from formats import (
    dequantise_fp4_weight,
    dequantise_fp8_weight,
    pack_fp4,
    quantise_fp4_weight,
    quantise_fp8_weight,
    unpack_fp4,
)
from model import Config, Model, Weight

INDEX = "model.safetensors.index.json"
LAYERS_PER_SHARD = 3


def encode_scale(scale: torch.Tensor) -> torch.Tensor:
    """Powers of two as UE8M0."""
    return (torch.frexp(scale).exponent - 1 + 127).to(torch.uint8).view(torch.float8_e8m0fnu)


def decode_scale(stored: torch.Tensor) -> torch.Tensor:
    """UE8M0 as float32."""
    exponent = stored.view(torch.uint8).int() - 127
    return torch.ldexp(torch.ones(stored.shape), exponent)


def fp8_names(model: Model) -> set[str]:
    """The names of the matrices stored as FP8."""
    return {
        f"{name}.weight" for name, m in model.named_modules() if isinstance(m, Weight) and m.fp8
    }


def rounded_weight(model: Model, name: str, value: torch.Tensor) -> torch.Tensor | None:
    """What a reader of the checkpoint gets for a quantised parameter; None for any other."""
    if ".experts.w" in name:
        return dequantise_fp4_weight(*quantise_fp4_weight(value))
    if name in fp8_names(model):
        return dequantise_fp8_weight(*quantise_fp8_weight(value))
    return None


def stored_tensors(model: Model) -> dict[str, torch.Tensor]:
    """Every tensor of the checkpoint by its published name."""
    fp8 = fp8_names(model)
    tensors: dict[str, torch.Tensor] = {}
    for name, value in model.state_dict().items():
        value = value.detach()
        if ".experts.w" in name:
            prefix, matrix = name.rsplit(".", 1)
            for expert, weight in enumerate(value):
                codes, scale = quantise_fp4_weight(weight)
                tensors[f"{prefix}.{expert}.{matrix}.weight"] = pack_fp4(codes)
                tensors[f"{prefix}.{expert}.{matrix}.scale"] = encode_scale(scale)
        elif name in fp8:
            codes, scale = quantise_fp8_weight(value)
            tensors[name] = codes.to(torch.float8_e4m3fn)
            tensors[name.removesuffix("weight") + "scale"] = encode_scale(scale)
        elif name.endswith("tid2eid"):
            tensors[name] = value.long()
        elif name.endswith(".weight"):
            tensors[name] = value.to(torch.bfloat16)
        else:
            tensors[name] = value.float()
    return tensors


def save(model: Model, folder: Path) -> None:
    """Writes the shards and their index."""
    tensors = stored_tensors(model)
    layers = model.config.num_hidden_layers
    shards = -(-layers // LAYERS_PER_SHARD)
    files = [f"model-{i + 1:05d}-of-{shards:05d}.safetensors" for i in range(shards)]
    contents: list[dict[str, torch.Tensor]] = [{} for _ in files]
    for name, value in tensors.items():
        if name.startswith("layers."):
            shard = int(name.split(".")[1]) // LAYERS_PER_SHARD
        else:
            shard = 0 if name.startswith("embed") else shards - 1
        contents[shard][name] = value.contiguous()
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in zip(files, contents):
        save_file(content, folder / file)
    total = sum(t.numel() * t.element_size() for t in tensors.values())
    weight_map = {name: file for file, content in zip(files, contents) for name in sorted(content)}
    index = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    (folder / INDEX).write_text(json.dumps(index, indent=2) + "\n")


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Model:
    """The model of a checkpoint folder with every weight decoded exactly from its stored format."""
    config = Config.load(folder / "config.json")
    stored: dict[str, torch.Tensor] = {}
    files = json.loads((folder / INDEX).read_text())["weight_map"]
    for file in sorted(set(files.values())):
        with safe_open(folder / file, "pt") as shard:
            stored |= {name: shard.get_tensor(name) for name in shard.keys()}
    model = Model(config)
    state = {}

    def decoded(name: str) -> torch.Tensor:
        value = stored.pop(name)
        if value.dtype == torch.int8:
            scale = decode_scale(stored.pop(name.removesuffix("weight") + "scale"))
            return dequantise_fp4_weight(unpack_fp4(value), scale)
        if value.dtype == torch.float8_e4m3fn:
            scale = decode_scale(stored.pop(name.removesuffix("weight") + "scale"))
            return dequantise_fp8_weight(value.float(), scale)
        return value

    for name in model.state_dict():
        if ".experts.w" in name:
            prefix, matrix = name.rsplit(".", 1)
            experts = range(config.n_routed_experts)
            state[name] = torch.stack([decoded(f"{prefix}.{e}.{matrix}.weight") for e in experts])
        else:
            state[name] = decoded(name)
    if stored:
        raise ValueError(f"tensors without a place in the model: {sorted(stored)[:5]}")
    model.load_state_dict(state)
    return model.to(dtype).eval()
