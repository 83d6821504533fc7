"""Reads and writes checkpoints in the published DeepSeek-V4-Flash format."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import torch
import torch.nn as nn
from safetensors import safe_open
from safetensors.torch import save_file

from drafter import Drafter
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
SINGLE_FILE = "model.safetensors"
DRAFTER_PREFIX = "mtp."
LAYERS_PER_SHARD = 3

Tensors = dict[str, torch.Tensor]


def encode_scale(scale: torch.Tensor) -> torch.Tensor:
    """Powers of two as UE8M0."""
    return (torch.frexp(scale).exponent - 1 + 127).to(torch.uint8).view(torch.float8_e8m0fnu)


def decode_scale(stored: torch.Tensor) -> torch.Tensor:
    """UE8M0 as float32."""
    exponent = stored.view(torch.uint8).int() - 127
    return torch.ldexp(torch.ones(stored.shape), exponent)


def fp8_names(model: nn.Module) -> set[str]:
    """The names of the matrices stored as FP8."""
    return {
        f"{name}.weight" for name, m in model.named_modules() if isinstance(m, Weight) and m.fp8
    }


def rounded_weight(model: nn.Module, name: str, value: torch.Tensor) -> torch.Tensor | None:
    """What a reader of the checkpoint gets for a quantised parameter; None for any other."""
    if ".experts.w" in name:
        return dequantise_fp4_weight(*quantise_fp4_weight(value))
    if name in fp8_names(model):
        return dequantise_fp8_weight(*quantise_fp8_weight(value))
    return None


def stored_tensors(model: nn.Module) -> Tensors:
    """Every tensor of the checkpoint by its published name."""
    fp8 = fp8_names(model)
    tensors: Tensors = {}
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


def write_shards(folder: Path, contents: list[Tensors]) -> None:
    """Writes the shards and their index; shards of the index before that are left over go.

    The tensors may still be mapped from files of the same names, which are therefore replaced and
    not written over.
    """
    index = folder / INDEX
    before = set(json.loads(index.read_text())["weight_map"].values()) if index.exists() else set()
    count = len(contents)
    files = [f"model-{i + 1:05d}-of-{count:05d}.safetensors" for i in range(count)]
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in zip(files, contents):
        save_file(content, folder / f"{file}.part")
        (folder / f"{file}.part").replace(folder / file)
    for file in before - set(files):
        (folder / file).unlink(missing_ok=True)
    total = sum(t.numel() * t.element_size() for content in contents for t in content.values())
    weight_map = {name: file for file, content in zip(files, contents) for name in content}
    text = {"metadata": {"total_size": total}, "weight_map": dict(sorted(weight_map.items()))}
    index.write_text(json.dumps(text, indent=2) + "\n")


def save(model: Model, folder: Path) -> None:
    """Writes the model without a drafter."""
    shards = -(-model.config.num_hidden_layers // LAYERS_PER_SHARD)
    contents: list[Tensors] = [{} for _ in range(shards)]
    for name, value in stored_tensors(model).items():
        if name.startswith("layers."):
            shard = int(name.split(".")[1]) // LAYERS_PER_SHARD
        else:
            shard = 0 if name.startswith("embed") else shards - 1
        contents[shard][name] = value.contiguous()
    write_shards(folder, contents)


def save_drafter(drafter: Drafter, folder: Path) -> None:
    """Adds a drafter to the target in the folder, in place of the one that may be there.

    It becomes the last shard. The tensors of the others stay as they are; their names count it.
    """
    contents = [without_drafter(shard) for shard in read_shards(folder).values()]
    tensors = {name: value.contiguous() for name, value in stored_tensors(drafter).items()}
    write_shards(folder, [shard for shard in contents if shard] + [tensors])
    config = drafter.config
    path = folder / "config.json"
    values = json.loads(path.read_text())
    values["compress_ratios"] = config.compress_ratios
    for key in ("block_size", "markov_rank", "noise_token_id", "target_layer_ids"):
        values[f"dspark_{key}"] = getattr(config, f"dspark_{key}")
    path.write_text(json.dumps(values, indent=2) + "\n")


def read_shards(folder: Path) -> dict[str, Tensors]:
    """The stored tensors of every file of a checkpoint folder, in the order of their names."""
    files = {SINGLE_FILE}
    if (folder / INDEX).exists():
        files = set(json.loads((folder / INDEX).read_text())["weight_map"].values())
    shards = {}
    for file in sorted(files):
        with safe_open(folder / file, "pt") as shard:
            shards[file] = {name: shard.get_tensor(name) for name in shard.keys()}
    return shards


def read(folder: Path) -> Tensors:
    """All stored tensors of a checkpoint folder."""
    shards = read_shards(folder).values()
    return {name: value for shard in shards for name, value in shard.items()}


def without_drafter(tensors: Tensors) -> Tensors:
    """The tensors of the target."""
    return {name: t for name, t in tensors.items() if not name.startswith(DRAFTER_PREFIX)}


def target_digest(folder: Path) -> str:
    """A hash of the target's stored tensors, whatever the shards and the drafter beside them."""
    digest = hashlib.sha256()
    for name, value in sorted(without_drafter(read(folder)).items()):
        digest.update(name.encode())
        digest.update(value.contiguous().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def fill(model: nn.Module, stored: Tensors) -> None:
    """Gives a model its parameters, every weight decoded exactly from its stored format.

    All of `stored` must have a place in the model.
    """
    state, left = {}, dict(stored)

    def decoded(name: str) -> torch.Tensor:
        value = left.pop(name)
        if value.dtype == torch.int8:
            scale = decode_scale(left.pop(name.removesuffix("weight") + "scale"))
            return dequantise_fp4_weight(unpack_fp4(value), scale)
        if value.dtype == torch.float8_e4m3fn:
            scale = decode_scale(left.pop(name.removesuffix("weight") + "scale"))
            return dequantise_fp8_weight(value.float(), scale)
        return value

    for name in model.state_dict():
        if ".experts.w" in name:
            prefix, matrix = name.rsplit(".", 1)
            experts = range(model.config.n_routed_experts)
            state[name] = torch.stack([decoded(f"{prefix}.{e}.{matrix}.weight") for e in experts])
        else:
            state[name] = decoded(name)
    if left:
        raise ValueError(f"tensors without a place in the model: {sorted(left)[:5]}")
    model.load_state_dict(state)


def load(folder: Path, dtype: torch.dtype = torch.float32) -> Model:
    """The target of a checkpoint folder."""
    model = Model(Config.load(folder / "config.json"))
    fill(model, without_drafter(read(folder)))
    return model.to(dtype).eval()


def load_drafter(folder: Path, dtype: torch.dtype = torch.float32) -> Drafter:
    """The drafter of a checkpoint folder; its names say how many stages it has."""
    stored = read(folder)
    stored = {name: stored[name] for name in stored.keys() - without_drafter(stored).keys()}
    stages = len({name.split(".")[1] for name in stored})
    if not stages:
        raise ValueError(f"{folder} has no drafter: no tensor begins with {DRAFTER_PREFIX}")
    drafter = Drafter(Config.load(folder / "config.json"), stages)
    fill(drafter, stored)
    return drafter.to(dtype).eval()
