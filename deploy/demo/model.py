"""DeepSeek-V4-Flash in PyTorch, whole sequences at once, for training and for checking.

Parameter names are those of the checkpoint, except that the routed experts of a layer are stacked.
The sparse indexer never acts below 4 * index_topk + 4 tokens, where all compressed entries are
attended anyway; its parameters are kept, initialised and exported. `attend_all_entries` must hold.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection
from dataclasses import dataclass, field, fields
from pathlib import Path

import torch
import torch.nn as nn
import torch.nn.functional as F

from formats import ACTIVATION_GROUP, CACHE_GROUP, straight_through
from operations import inverse_rms, rms_norm, rotate, sink_softmax

ROW_BLOCK = 128


@dataclass
class Config:
    """The fields of config.json that shape the computation."""

    vocab_size: int
    hidden_size: int = 256
    num_hidden_layers: int = 5
    compress_ratios: list[int] = field(default_factory=lambda: [0, 4, 128, 4, 0, 0])
    num_attention_heads: int = 4
    head_dim: int = 512
    qk_rope_head_dim: int = 64
    q_lora_rank: int = 128
    o_groups: int = 4
    o_lora_rank: int = 128
    sliding_window: int = 128
    rope_theta: float = 10000
    compress_rope_theta: float = 160000
    rope_scaling: dict = field(
        default_factory=lambda: {
            "type": "yarn",
            "factor": 16,
            "original_max_position_embeddings": 65536,
            "beta_fast": 32,
            "beta_slow": 1,
        }
    )
    index_n_heads: int = 4
    index_head_dim: int = 128
    index_topk: int = 512
    hc_mult: int = 4
    hc_sinkhorn_iters: int = 4
    hc_eps: float = 1e-6
    rms_norm_eps: float = 1e-6
    n_routed_experts: int = 8
    num_experts_per_tok: int = 2
    moe_intermediate_size: int = 256
    num_hash_layers: int = 1
    routed_scaling_factor: float = 1.5
    swiglu_limit: float = 10.0
    dspark_block_size: int = 5
    dspark_markov_rank: int = 64
    dspark_noise_token_id: int = 996
    dspark_target_layer_ids: list[int] = field(default_factory=lambda: [2, 3, 4])

    @classmethod
    def load(cls, path: Path) -> "Config":
        """Reads config.json, ignoring the fields that shape nothing."""
        values = json.loads(path.read_text())
        return cls(**{f.name: values[f.name] for f in fields(cls) if f.name in values})


def rope_table(config: Config, ratio: int, length: int) -> tuple[torch.Tensor, torch.Tensor]:
    """cos and sin [length, rope_dim / 2] of a layer; YaRN on compressed layers only."""
    dim = config.qk_rope_head_dim
    theta = config.compress_rope_theta if ratio else config.rope_theta
    frequency = 1.0 / (theta ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim))
    if ratio:
        scaling = config.rope_scaling
        original = scaling["original_max_position_embeddings"]

        def turns(count: float) -> float:
            return dim * math.log(original / (count * 2 * math.pi)) / (2 * math.log(theta))

        low = max(math.floor(turns(scaling["beta_fast"])), 0)
        high = min(math.ceil(turns(scaling["beta_slow"])), dim - 1)
        ramp = ((torch.arange(dim // 2, dtype=torch.float32) - low) / (high - low)).clamp(0, 1)
        frequency = frequency / scaling["factor"] * ramp + frequency * (1 - ramp)
    angle = torch.arange(length, dtype=torch.float32)[:, None] * frequency
    return angle.cos(), angle.sin()


class Weight(nn.Module):
    """A matrix stored under `<name>.weight`, stored as FP8 or as bf16."""

    def __init__(self, rows: int, columns: int, fp8: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(rows, columns) / math.sqrt(columns))
        self.fp8 = fp8

    def forward(self, x: torch.Tensor, rounded: bool) -> torch.Tensor:
        """x, rounded as the engine rounds it before an FP8 matrix, times the transposed matrix."""
        if rounded and self.fp8:
            x = straight_through(x, ACTIVATION_GROUP)
        return F.linear(x, self.weight)


class Norm(nn.Module):
    """A norm weight stored under `<name>.weight`."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))


class Compressor(nn.Module):
    """Pools groups of tokens into one cache entry by a softmax per channel."""

    def __init__(self, config: Config, ratio: int, width: int) -> None:
        super().__init__()
        self.ratio, self.width, self.config = ratio, width, config
        rows = width * (2 if ratio == 4 else 1)
        self.wkv = Weight(rows, config.hidden_size, fp8=False)
        self.wgate = Weight(rows, config.hidden_size, fp8=False)
        self.ape = nn.Parameter(torch.zeros(ratio, rows))
        self.norm = Norm(width)

    def forward(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, rounded: bool
    ) -> torch.Tensor:
        """The rotated entries [batch, tokens // ratio, width] of x [batch, tokens, hidden]."""
        batch, tokens, _ = x.shape
        count, width = tokens // self.ratio, self.width
        x = x[:, : count * self.ratio]
        values = self.wkv(x, rounded).view(batch, count, self.ratio, -1)
        gates = self.wgate(x, rounded).view(batch, count, self.ratio, -1) + self.ape
        if self.ratio == 4:
            before = F.pad(values[:, :-1, :, :width], (0, 0, 0, 0, 1, 0))
            values = torch.cat((before, values[..., width:]), 2)
            before = F.pad(gates[:, :-1, :, :width], (0, 0, 0, 0, 1, 0), value=-1e30)
            gates = torch.cat((before, gates[..., width:]), 2)
        pooled = (gates.softmax(2) * values).sum(2).to(x.dtype)
        pooled = rms_norm(pooled, self.norm.weight, self.config.rms_norm_eps)
        places = slice(0, count * self.ratio, self.ratio)
        return rotate(pooled, cos[places], sin[places])


class Indexer(nn.Module):
    """The parameters of the sparse indexer; see the module's text for why it never acts here."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        width = config.index_n_heads * config.index_head_dim
        self.wq_b = Weight(width, config.q_lora_rank, fp8=True)
        self.weights_proj = Weight(config.index_n_heads, config.hidden_size, fp8=False)
        self.compressor = Compressor(config, 4, config.index_head_dim)


class Attention(nn.Module):
    """Sliding-window attention over one shared latent, plus compressed entries."""

    def __init__(self, config: Config, ratio: int) -> None:
        super().__init__()
        self.config, self.ratio = config, ratio
        hidden, heads = config.hidden_size, config.num_attention_heads
        self.wq_a = Weight(config.q_lora_rank, hidden, fp8=True)
        self.q_norm = Norm(config.q_lora_rank)
        self.wq_b = Weight(heads * config.head_dim, config.q_lora_rank, fp8=True)
        self.wkv = Weight(config.head_dim, hidden, fp8=True)
        self.kv_norm = Norm(config.head_dim)
        self.attn_sink = nn.Parameter(torch.zeros(heads))
        group_width = heads * config.head_dim // config.o_groups
        self.wo_a = Weight(config.o_groups * config.o_lora_rank, group_width, fp8=True)
        self.wo_b = Weight(hidden, config.o_groups * config.o_lora_rank, fp8=True)
        if ratio:
            self.compressor = Compressor(config, ratio, config.head_dim)
        if ratio == 4:
            self.indexer = Indexer(config)

    def round_cache(self, entries: torch.Tensor, rounded: bool) -> torch.Tensor:
        """The FP8 rounded of the part of the cache entries that carries no position."""
        if not rounded:
            return entries
        plain = self.config.head_dim - self.config.qk_rope_head_dim
        rounded = straight_through(entries[..., :plain], CACHE_GROUP)
        return torch.cat((rounded, entries[..., plain:]), -1)

    def queries(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, rounded: bool
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Rotated queries [batch, tokens, heads, dim] and what to scale their scores by."""
        config = self.config
        low = rms_norm(self.wq_a(x, rounded), self.q_norm.weight, config.rms_norm_eps)
        q = self.wq_b(low, rounded).unflatten(-1, (config.num_attention_heads, -1))
        scale = inverse_rms(q, config.rms_norm_eps) * config.head_dim**-0.5
        return rotate(q, cos.unsqueeze(-2), sin.unsqueeze(-2)), scale

    def entries(
        self, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, rounded: bool
    ) -> torch.Tensor:
        """The window's entries [batch, tokens, dim], rotated; `round_cache` is still due."""
        latent = rms_norm(self.wkv(x, rounded), self.kv_norm.weight, self.config.rms_norm_eps)
        return rotate(latent, cos, sin)

    def output(
        self, mixed: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, rounded: bool
    ) -> torch.Tensor:
        """The output [batch, tokens, hidden] of the heads' means [batch, tokens, heads, dim]."""
        config = self.config
        mixed = rotate(mixed, cos.unsqueeze(-2), sin.unsqueeze(-2), inverse=True)
        groups = mixed.flatten(-2).unflatten(-1, (config.o_groups, -1)).unbind(2)
        matrices = self.wo_a.weight.view(config.o_groups, config.o_lora_rank, -1).unbind()
        low = torch.cat([F.linear(x.contiguous(), w) for x, w in zip(groups, matrices)], -1)
        return self.wo_b(low, rounded)

    def forward(
        self,
        x: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        mask: torch.Tensor,
        rounded: bool,
    ) -> torch.Tensor:
        """Attention of x [batch, tokens, hidden]; mask [tokens, keys] is added to the scores."""
        tokens = x.shape[1]
        q, scale = self.queries(x, cos, sin, rounded)
        keys = self.entries(x, cos, sin, rounded)
        if self.ratio and tokens >= self.ratio:
            keys = torch.cat((keys, self.compressor(x, cos, sin, rounded)), 1)
        keys = self.round_cache(keys, rounded)
        scores = torch.matmul(q.flatten(1, 2), keys.transpose(1, 2)).unflatten(1, (tokens, -1))
        chances = sink_softmax(scores, scale, mask, self.attn_sink)
        mixed = torch.matmul(chances.flatten(1, 2), keys).unflatten(1, (tokens, -1))
        return self.output(mixed, cos, sin, rounded)


class Gate(nn.Module):
    """The router: learned with a selection bias, or by a table from token ids."""

    def __init__(self, config: Config, hashed: bool) -> None:
        super().__init__()
        self.config, self.hashed = config, hashed
        experts, active = config.n_routed_experts, config.num_experts_per_tok
        self.weight = nn.Parameter(torch.randn(experts, config.hidden_size) * 0.02)
        if hashed:
            generator = torch.Generator().manual_seed(0)
            order = torch.rand(config.vocab_size, experts, generator=generator).argsort(1)
            self.register_buffer("tid2eid", order[:, :active].contiguous())
        else:
            self.register_buffer("bias", torch.zeros(experts))
            self.register_buffer("load", torch.zeros(experts), persistent=False)

    def forward(self, x: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Chosen experts and their weights, both [tokens, active]."""
        with torch.autocast("cpu", enabled=False):
            logits = F.linear(x.to(self.weight.dtype), self.weight)
            scores = F.softplus(logits).sqrt()
        if self.hashed:
            chosen = self.tid2eid[ids]
        else:
            chosen = (scores + self.bias).topk(self.config.num_experts_per_tok, -1).indices
            if self.training:
                self.load += torch.bincount(chosen.flatten(), minlength=len(self.load))
        weights = scores.gather(1, chosen)
        weights = weights / weights.sum(-1, keepdim=True) * self.config.routed_scaling_factor
        return chosen, weights


def swiglu(gate: torch.Tensor, up: torch.Tensor, limit: float) -> torch.Tensor:
    """Clamped SwiGLU."""
    return F.silu(gate.clamp(max=limit)) * up.clamp(-limit, limit)


class SharedExpert(nn.Module):
    """The expert that every token passes."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        inner, hidden = config.moe_intermediate_size, config.hidden_size
        self.limit = config.swiglu_limit
        self.w1 = Weight(inner, hidden, fp8=True)
        self.w2 = Weight(hidden, inner, fp8=True)
        self.w3 = Weight(inner, hidden, fp8=True)

    def forward(self, x: torch.Tensor, rounded: bool) -> torch.Tensor:
        """The expert's output for x [tokens, hidden]."""
        inner = swiglu(self.w1(x, rounded), self.w3(x, rounded), self.limit)
        return self.w2(inner, rounded)


class Experts(nn.Module):
    """The routed experts of a layer, stacked."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        experts, inner, hidden = (
            config.n_routed_experts,
            config.moe_intermediate_size,
            config.hidden_size,
        )
        self.limit = config.swiglu_limit
        self.w1 = nn.Parameter(torch.randn(experts, inner, hidden) / math.sqrt(hidden))
        self.w2 = nn.Parameter(torch.randn(experts, hidden, inner) / math.sqrt(inner))
        self.w3 = nn.Parameter(torch.randn(experts, inner, hidden) / math.sqrt(hidden))

    def forward(
        self, x: torch.Tensor, chosen: torch.Tensor, weights: torch.Tensor, rounded: bool
    ) -> torch.Tensor:
        """The weighted sum of the chosen experts' outputs.

        Each expert's rows are filled up to whole blocks, whose results nobody reads: few distinct
        matrix shapes spare the library from preparing a kernel for each new one.
        """
        matrices = zip(self.w1.unbind(), self.w2.unbind(), self.w3.unbind())
        if rounded:
            x = straight_through(x, ACTIVATION_GROUP)
        active, experts = chosen.shape[1], len(self.w1)
        choice = chosen.flatten()
        order = choice.argsort(stable=True)
        counts = torch.bincount(choice, minlength=experts)
        room = (counts + ROW_BLOCK - 1) // ROW_BLOCK * ROW_BLOCK
        shift = (room.cumsum(0) - room) - (counts.cumsum(0) - counts)
        slot = torch.arange(len(choice)) + shift[choice[order]]
        taken = torch.zeros(int(room.sum()), dtype=torch.long)
        taken[slot] = order
        sizes = room.tolist()
        rows = x[taken // active].split(sizes)
        scales = weights.flatten()[taken].split(sizes)
        outputs = []
        for (w1, w2, w3), row, scale in zip(matrices, rows, scales):
            inner = swiglu(F.linear(row, w1), F.linear(row, w3), self.limit)
            inner = inner * scale[:, None].to(inner.dtype)
            if rounded:
                inner = straight_through(inner, ACTIVATION_GROUP)
            outputs.append(F.linear(inner, w2))
        place = torch.empty_like(slot)
        place[order] = slot
        return torch.cat(outputs)[place].view(len(x), active, -1).sum(1)


class FeedForward(nn.Module):
    """Mixture of experts with one shared expert."""

    def __init__(self, config: Config, hashed: bool) -> None:
        super().__init__()
        self.gate = Gate(config, hashed)
        self.experts = Experts(config)
        self.shared_experts = SharedExpert(config)

    def forward(self, x: torch.Tensor, ids: torch.Tensor, rounded: bool) -> torch.Tensor:
        """The layer's output for x [batch, tokens, hidden]."""
        flat = x.flatten(0, 1)
        chosen, weights = self.gate(flat, ids.flatten())
        routed = self.experts(flat, chosen, weights, rounded)
        return (routed + self.shared_experts(flat, rounded)).view(x.shape)


def stream_gates(streams: torch.Tensor, fn: torch.Tensor, eps: float) -> torch.Tensor:
    """The projections of the normalised, flattened streams."""
    flat = streams.flatten(-2)
    return F.linear(flat, fn) * inverse_rms(flat, eps)


def weigh(pre: torch.Tensor, streams: torch.Tensor) -> torch.Tensor:
    """The streams [..., count, hidden] summed with weights [..., count]."""
    return torch.matmul(pre[..., None, :].to(streams.dtype), streams).squeeze(-2)


def spread(
    result: torch.Tensor, post: torch.Tensor, comb: torch.Tensor, streams: torch.Tensor
) -> torch.Tensor:
    """The streams after a site: mixed by `comb` from row to column, plus the weighted result."""
    dtype, shape = streams.dtype, streams.shape
    added = post.flatten(0, 1)[..., None].to(dtype) * result.flatten(0, 1)[:, None].to(dtype)
    mixing = comb.flatten(0, 1).transpose(1, 2).to(dtype)
    return torch.baddbmm(added, mixing, streams.flatten(0, 1)).view(shape)


class Layer(nn.Module):
    """One decoder layer: attention and feed-forward, each between hyper-connections."""

    def __init__(self, config: Config, index: int) -> None:
        super().__init__()
        self.config = config
        streams, hidden = config.hc_mult, config.hidden_size
        self.attn = Attention(config, config.compress_ratios[index])
        self.attn_norm = Norm(hidden)
        self.ffn = FeedForward(config, index < config.num_hash_layers)
        self.ffn_norm = Norm(hidden)
        rows = streams * (streams + 2)
        for site in ("attn", "ffn"):
            base = torch.zeros(rows)
            base[:streams] = -2.0
            base[index % streams] = 2.0
            base[2 * streams :] = (4.0 * torch.eye(streams)).flatten()
            fn = torch.randn(rows, streams * hidden) / math.sqrt(streams * hidden)
            setattr(self, f"hc_{site}_fn", nn.Parameter(fn))
            setattr(self, f"hc_{site}_base", nn.Parameter(base))
            setattr(self, f"hc_{site}_scale", nn.Parameter(torch.full((3,), 0.1)))

    def mix(
        self, site: str, streams: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Sublayer input, output weights and stream mixing matrix of a site."""
        config, count, eps = self.config, self.config.hc_mult, self.config.hc_eps
        base, scale = getattr(self, f"hc_{site}_base"), getattr(self, f"hc_{site}_scale")
        gates = stream_gates(streams, getattr(self, f"hc_{site}_fn"), config.rms_norm_eps)
        pre = torch.sigmoid(gates[..., :count] * scale[0] + base[:count]) + eps
        post = 2 * torch.sigmoid(gates[..., count : 2 * count] * scale[1] + base[count : 2 * count])
        comb = gates[..., 2 * count :] * scale[2] + base[2 * count :]
        comb = comb.unflatten(-1, (count, count)).softmax(-1) + eps
        comb = comb / (comb.sum(-2, keepdim=True) + eps)
        for _ in range(config.hc_sinkhorn_iters - 1):
            comb = comb / (comb.sum(-1, keepdim=True) + eps)
            comb = comb / (comb.sum(-2, keepdim=True) + eps)
        return weigh(pre, streams), post, comb

    def forward(
        self,
        streams: torch.Tensor,
        ids: torch.Tensor,
        plan: tuple[torch.Tensor, ...],
        rounded: bool,
    ) -> torch.Tensor:
        """The streams [batch, tokens, hc_mult, hidden] after the layer.

        `plan` is what its attention takes beside the tokens: cos, sin and mask.
        """
        eps = self.config.rms_norm_eps
        entering, post, comb = self.mix("attn", streams)
        result = self.attn(rms_norm(entering, self.attn_norm.weight, eps), *plan, rounded)
        streams = spread(result, post, comb, streams)
        entering, post, comb = self.mix("ffn", streams)
        result = self.ffn(rms_norm(entering, self.ffn_norm.weight, eps), ids, rounded)
        return spread(result, post, comb, streams)


def add_head_mix(module: nn.Module, config: Config) -> None:
    """Gives a module the parameters by which `collapse` weighs its streams."""
    streams, width = config.hc_mult, config.hc_mult * config.hidden_size
    module.hc_head_fn = nn.Parameter(torch.randn(streams, width) / math.sqrt(width))
    module.hc_head_base = nn.Parameter(torch.zeros(streams))
    module.hc_head_scale = nn.Parameter(torch.full((1,), 0.1))


def collapse(module: nn.Module, config: Config, streams: torch.Tensor) -> torch.Tensor:
    """The streams [..., hc_mult, hidden] weighed to one by the module's `hc_head` parameters."""
    gates = stream_gates(streams, module.hc_head_fn, config.rms_norm_eps)
    pre = torch.sigmoid(gates * module.hc_head_scale + module.hc_head_base) + config.hc_eps
    return weigh(pre, streams)


class Model(nn.Module):
    """The whole model."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        hidden = config.hidden_size
        self.embed = Weight(config.vocab_size, hidden, fp8=False)
        self.layers = nn.ModuleList(Layer(config, i) for i in range(config.num_hidden_layers))
        add_head_mix(self, config)
        self.norm = Norm(hidden)
        self.head = Weight(config.vocab_size, hidden, fp8=False)

    def attend_all_entries(self, tokens: int) -> bool:
        """Whether every query of this length attends all its compressed entries."""
        return tokens // 4 <= self.config.index_topk

    def mask(self, ratio: int, tokens: int, dtype: torch.dtype) -> torch.Tensor:
        """0 where a query sees a key (window, then compressed entries), else a huge negative."""
        place = torch.arange(tokens)
        distance = place[:, None] - place
        seen = (distance >= 0) & (distance < self.config.sliding_window)
        if ratio and tokens >= ratio:
            entry = torch.arange(tokens // ratio)
            seen = torch.cat((seen, entry < (place[:, None] + 1) // ratio), 1)
        return torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, -1e30)

    def embedded(self, ids: torch.Tensor) -> torch.Tensor:
        """The streams [batch, tokens, hc_mult, hidden] that enter the first layer."""
        states = self.embed.weight[ids]
        if torch.is_autocast_enabled("cpu"):
            states = states.to(torch.get_autocast_dtype("cpu"))
        return states[:, :, None].repeat(1, 1, self.config.hc_mult, 1)

    def forward(self, ids: torch.Tensor, rounded: bool) -> torch.Tensor:
        """Normalised final states [batch, tokens, hidden] of ids [batch, tokens]."""
        return self.trace(ids, rounded, ())[0]

    def trace(
        self, ids: torch.Tensor, rounded: bool, taps: Collection[int]
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The final states, and the mean of the streams after each layer in `taps`, ascending."""
        config = self.config
        tokens = ids.shape[1]
        assert self.attend_all_entries(tokens)
        dtype = self.embed.weight.dtype
        plans = {}
        for ratio in set(config.compress_ratios[: config.num_hidden_layers]):
            cos, sin = rope_table(config, ratio, tokens)
            plans[ratio] = (cos.to(dtype), sin.to(dtype), self.mask(ratio, tokens, dtype))
        streams = self.embedded(ids)
        tapped = []
        for index, layer in enumerate(self.layers):
            streams = layer(streams, ids, plans[layer.attn.ratio], rounded)
            if index in taps:
                tapped.append(streams.mean(2))
        final = collapse(self, config, streams)
        return rms_norm(final, self.norm.weight, config.rms_norm_eps), tapped

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """Vocabulary scores of final states."""
        return F.linear(states, self.head.weight)
