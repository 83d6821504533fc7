"""The DSpark drafter in PyTorch: many blocks of a sequence at once, for training and for checking.

Parameter names are those of the checkpoint, except that the routed experts of a stage are stacked.
A block is the anchor, the newest token, followed by noise tokens. Its rows see the target's hidden
states at the window of positions before the anchor, and each other in both directions; row k
predicts the token k + 1 places after the anchor. Embedding and output head are the target's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn as nn
import torch.nn.functional as F

from model import Attention, Config, Layer, Model, Norm, Weight, add_head_mix, collapse, rope_table
from operations import rms_norm, sink_softmax


def with_stages(config: Config, stages: int) -> Config:
    """The config whose compress_ratios have one entry, 0, for each stage beside the layers'."""
    layers = config.compress_ratios[: config.num_hidden_layers]
    return replace(config, compress_ratios=layers + [0] * stages)


class BlockAttention(Attention):
    """Attention of the rows of blocks over context entries and over the rows of their own block."""

    def forward(
        self,
        x: torch.Tensor,
        context: torch.Tensor,
        cos: torch.Tensor,
        sin: torch.Tensor,
        mask: torch.Tensor,
        rounded: bool,
    ) -> torch.Tensor:
        """Attention of x [batch, blocks * size, hidden] over `context` [batch, tokens, dim].

        `mask` [batch, blocks * size, tokens + size] is added to the scores, those of the context
        first; cos and sin are those of the rows' positions.
        """
        rows, tokens, size = x.shape[1], context.shape[1], self.config.dspark_block_size
        q, scale = self.queries(x, cos, sin, rounded)
        own = self.round_cache(self.entries(x, cos, sin, rounded), rounded)
        own = own.unflatten(1, (-1, size))
        q = q.flatten(1, 2)
        scores = torch.matmul(q, context.transpose(1, 2))
        own_scores = torch.matmul(q.unflatten(1, (rows // size, -1)), own.transpose(2, 3))
        scores = torch.cat((scores, own_scores.flatten(1, 2)), -1).unflatten(1, (rows, -1))
        chances = sink_softmax(scores, scale, mask, self.attn_sink)
        chances, own_chances = chances.flatten(1, 2).split((tokens, size), -1)
        mixed = torch.matmul(own_chances.unflatten(1, (rows // size, -1)), own).flatten(1, 2)
        mixed = torch.matmul(chances, context) + mixed
        return self.output(mixed.unflatten(1, (rows, -1)), cos, sin, rounded)


class MarkovHead(nn.Module):
    """A correction of the logits by the token before, of low rank."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.markov_w1 = Weight(config.vocab_size, config.dspark_markov_rank, fp8=False)
        self.markov_w2 = Weight(config.vocab_size, config.dspark_markov_rank, fp8=False)


class ConfidenceHead(nn.Module):
    """The logit of a draft's chance to be accepted."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.proj = Weight(1, config.hidden_size + config.dspark_markov_rank, fp8=False)


class Stage(Layer):
    """One stage: a window layer over blocks.

    The first stage also projects the taps, the last one has the heads.
    """

    def __init__(self, config: Config, number: int, stages: int) -> None:
        super().__init__(config, config.num_hidden_layers + number)
        self.attn = BlockAttention(config, ratio=0)
        hidden = config.hidden_size
        if number == 0:
            taps = len(config.dspark_target_layer_ids)
            self.main_proj = Weight(hidden, taps * hidden, fp8=True)
            self.main_norm = Norm(hidden)
        if number == stages - 1:
            self.norm = Norm(hidden)
            add_head_mix(self, config)
            self.markov_head = MarkovHead(config)
            self.confidence_head = ConfidenceHead(config)


@dataclass
class Draft:
    """Greedy drafts of blocks, each row following from the draft before it."""

    ids: torch.Tensor  # [..., size]
    logits: torch.Tensor  # [..., size, vocab], with the Markov correction
    confidence: torch.Tensor  # [..., size], logits


class Drafter(nn.Module):
    """All stages."""

    def __init__(self, config: Config, stages: int) -> None:
        super().__init__()
        self.config = config = with_stages(config, stages)
        self.mtp = nn.ModuleList(Stage(config, number, stages) for number in range(stages))

    def mask(self, places: torch.Tensor, tokens: int, dtype: torch.dtype) -> torch.Tensor:
        """0 where a row sees a key, else a huge negative; for anchors at `places`.

        All rows of a block see the window of positions that ends before the anchor, and the block.
        """
        size = self.config.dspark_block_size
        distance = places[..., None] - torch.arange(tokens)
        seen = (distance > 0) & (distance <= self.config.sliding_window)
        seen = F.pad(seen, (0, size), value=True).repeat_interleave(size, 1)
        return torch.zeros(seen.shape, dtype=dtype).masked_fill(~seen, -1e30)

    def forward(
        self,
        target: Model,
        ids: torch.Tensor,
        taps: list[torch.Tensor],
        places: torch.Tensor,
        rounded: bool,
    ) -> torch.Tensor:
        """The rows' collapsed streams [batch, blocks, size, hidden], not normalised.

        The blocks' anchors are the tokens of ids [batch, tokens] at `places` [batch, blocks];
        `taps` are what `target.trace` gives for the configured layers.
        """
        config, size, tokens = self.config, self.config.dspark_block_size, ids.shape[1]
        first, last = self.mtp[0], self.mtp[-1]
        dtype = first.main_norm.weight.dtype
        main = first.main_proj(torch.cat(taps, -1), rounded)
        main = rms_norm(main, first.main_norm.weight, config.rms_norm_eps)
        cos, sin = (table.to(dtype) for table in rope_table(config, 0, tokens + size))
        rows = (places[..., None] + torch.arange(size)).flatten(1)
        mask = self.mask(places, tokens, dtype)
        inputs = torch.full((*places.shape, size), config.dspark_noise_token_id)
        inputs[..., 0] = ids.gather(1, places)
        inputs = inputs.flatten(1)
        streams = target.embedded(inputs)
        for stage in self.mtp:
            context = stage.attn.entries(main, cos[:tokens], sin[:tokens], rounded)
            context = stage.attn.round_cache(context, rounded)
            streams = stage(streams, inputs, (context, cos[rows], sin[rows], mask), rounded)
        return collapse(last, config, streams).unflatten(1, (-1, size))

    def base_logits(self, target: Model, states: torch.Tensor) -> torch.Tensor:
        """Vocabulary scores of `forward`'s states, without the Markov correction."""
        weight = self.mtp[-1].norm.weight
        states = rms_norm(states, weight, self.config.rms_norm_eps)
        with torch.autocast("cpu", enabled=False):
            return target.logits(states.to(weight.dtype))

    def follow(
        self, states: torch.Tensor, previous: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """What the tokens before the rows decide: the logits' correction, and the confidence."""
        last = self.mtp[-1]
        with torch.autocast("cpu", enabled=False):
            embedded = F.embedding(previous, last.markov_head.markov_w1.weight)
            correction = last.markov_head.markov_w2(embedded, False)
            confidence = torch.cat((states.to(embedded.dtype), embedded), -1)
            return correction, last.confidence_head.proj(confidence, False).squeeze(-1)

    def draft(self, target: Model, states: torch.Tensor, anchors: torch.Tensor) -> Draft:
        """Greedy drafts from `forward`'s states [..., size, hidden] and the anchors [...]."""
        base = self.base_logits(target, states)
        previous, ids, logits, confidence = anchors, [], [], []
        for row in range(self.config.dspark_block_size):
            correction, certain = self.follow(states[..., row, :], previous)
            logits.append(base[..., row, :] + correction)
            confidence.append(certain)
            previous = logits[-1].argmax(-1)
            ids.append(previous)
        return Draft(torch.stack(ids, -1), torch.stack(logits, -2), torch.stack(confidence, -1))
