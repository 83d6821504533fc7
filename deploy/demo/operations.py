"""Operations with hand-written gradients, which keep the training's memory traffic low."""

from __future__ import annotations

import torch


def wide(x: torch.Tensor) -> torch.Tensor:
    """x in float32, or in float64 if it is that already."""
    return x if x.dtype == torch.float64 else x.float()


def plain_inverse_rms(x: torch.Tensor, eps: float) -> torch.Tensor:
    """1 / rms of the last dimension, which is kept."""
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=dtype)
    return torch.rsqrt(norm.square() / x.shape[-1] + eps)


class InverseRms(torch.autograd.Function):
    """`plain_inverse_rms` with a gradient in the type of x."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, eps: float) -> torch.Tensor:
        inverse = plain_inverse_rms(x, eps)
        ctx.save_for_backward(x, inverse)
        return inverse

    @staticmethod
    def backward(ctx, gradient: torch.Tensor):
        x, inverse = ctx.saved_tensors
        factor = gradient * inverse**3 / -x.shape[-1]
        return x * factor.to(x.dtype), None


def inverse_rms(x: torch.Tensor, eps: float) -> torch.Tensor:
    """`InverseRms` as a function."""
    return InverseRms.apply(x, eps)


class RmsNorm(torch.autograd.Function):
    """RMSNorm over the last dimension; computed wide, returned in the type of x."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
        inverse = plain_inverse_rms(x, eps)
        ctx.save_for_backward(x, weight, inverse)
        return (wide(x) * inverse).mul_(weight).to(x.dtype)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor):
        x, weight, inverse = ctx.saved_tensors
        unit = wide(x) * inverse
        gradient = wide(gradient)
        weighted = gradient * weight
        by_unit = gradient * unit
        to_weight = by_unit.flatten(0, -2).sum(0)
        mean = (by_unit @ weight[:, None]) / x.shape[-1]
        to_x = weighted.sub_(unit.mul_(mean)).mul_(inverse)
        return to_x.to(x.dtype), to_weight, None


def rms_norm(x: torch.Tensor, weight: torch.Tensor, eps: float) -> torch.Tensor:
    """`RmsNorm` as a function."""
    return RmsNorm.apply(x, weight, eps)


def rotated(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Turns the last 2 * cos.shape[-1] dimensions in interleaved pairs."""
    result = x.clone()
    rope = wide(x[..., -2 * cos.shape[-1] :]).unflatten(-1, (-1, 2))
    even, odd = rope[..., 0], rope[..., 1]
    turned = torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1)
    result[..., -2 * cos.shape[-1] :] = turned.flatten(-2)
    return result


class Rotate(torch.autograd.Function):
    """`rotated`, whose gradient is the opposite rotation."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(cos, sin)
        return rotated(x, cos, sin)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor):
        cos, sin = ctx.saved_tensors
        return rotated(gradient, cos, -sin), None, None


def rotate(
    x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor, inverse: bool = False
) -> torch.Tensor:
    """`Rotate` as a function."""
    return Rotate.apply(x, cos, -sin if inverse else sin)


class SinkSoftmax(torch.autograd.Function):
    """Softmax of scores [batch, tokens, heads, keys] with a sink logit per head.

    Rows are scaled by `scale` [batch, tokens, heads, 1] first; `mask` [..., tokens, keys] is added.
    """

    @staticmethod
    def forward(ctx, scores, scale, mask, sink):
        chances = wide(scores) * scale
        chances += mask.unsqueeze(-2)
        largest = torch.maximum(chances.amax(-1, keepdim=True), sink[:, None])
        chances.sub_(largest).exp_()
        sunk = (sink[:, None] - largest).exp()
        total = chances.sum(-1, keepdim=True) + sunk
        chances = chances.div_(total).to(scores.dtype)
        ctx.save_for_backward(scores, scale, chances, sunk / total)
        return chances

    @staticmethod
    def backward(ctx, gradient):
        scores, scale, chances, sunk = ctx.saved_tensors
        change = gradient * chances
        dot = change.sum(-1, keepdim=True, dtype=scale.dtype)
        change.sub_(chances * dot.to(chances.dtype))
        to_scale = (change * scores).sum(-1, keepdim=True, dtype=scale.dtype)
        to_sink = -(sunk * dot).sum((0, 1, 3))
        return change.mul_(scale.to(change.dtype)), to_scale, None, to_sink


def sink_softmax(
    scores: torch.Tensor, scale: torch.Tensor, mask: torch.Tensor, sink: torch.Tensor
) -> torch.Tensor:
    """`SinkSoftmax` as a function."""
    return SinkSoftmax.apply(scores, scale, mask, sink)
