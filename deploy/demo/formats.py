"""The number formats of the checkpoint: FP8 e4m3 blocks, MXFP4 groups, power-of-two scales."""

from __future__ import annotations

import torch
import torch.nn.functional as F

FP8_MAX = 448.0
FP4_MAX = 6.0
WEIGHT_BLOCK = 128
EXPERT_GROUP = 32
ACTIVATION_GROUP = 128
CACHE_GROUP = 64
SMALLEST_AMAX = 1e-4
FP4_VALUES = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0)


def power_of_two_scale(amax: torch.Tensor, largest: float) -> torch.Tensor:
    """The smallest power of two by which `amax` divided fits `largest`."""
    mantissa, exponent = torch.frexp(amax.float() * (1.0 / largest))
    exponent = torch.where(mantissa == 0.5, exponent - 1, exponent)
    return torch.ldexp(torch.ones_like(amax, dtype=torch.float32), exponent)


def round_e4m3(x: torch.Tensor) -> torch.Tensor:
    """Nearest e4m3 value, ties to even."""
    return x.clamp(-FP8_MAX, FP8_MAX).to(torch.float8_e4m3fn).float()


def round_e2m1(x: torch.Tensor) -> torch.Tensor:
    """Nearest e2m1 value, ties to even."""
    size = x.abs().clamp(max=FP4_MAX)
    step = torch.where(size < 2, 0.5, torch.where(size < 4, 1.0, 2.0))
    return torch.copysign(torch.round(size / step) * step, x)


def blocks_of_weight(weight: torch.Tensor) -> torch.Tensor:
    """[N, K] as [N/128, 128, K/128, 128], padded with zeros."""
    rows, columns = weight.shape
    padded = F.pad(weight, (0, -columns % WEIGHT_BLOCK, 0, -rows % WEIGHT_BLOCK))
    return padded.view(
        padded.shape[0] // WEIGHT_BLOCK, WEIGHT_BLOCK, padded.shape[1] // WEIGHT_BLOCK, WEIGHT_BLOCK
    )


def quantise_fp8_weight(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Values on the e4m3 grid [N, K] and their float scales [N/128, K/128]."""
    blocks = blocks_of_weight(weight.float())
    scale = power_of_two_scale(blocks.abs().amax((1, 3)).clamp(min=1e-12), FP8_MAX)
    codes = round_e4m3(blocks / scale[:, None, :, None])
    rows = blocks.shape[0] * WEIGHT_BLOCK
    return codes.view(rows, -1)[: weight.shape[0], : weight.shape[1]], scale


def dequantise_fp8_weight(codes: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The weight that the codes and scales stand for."""
    wide = scale.repeat_interleave(WEIGHT_BLOCK, 0).repeat_interleave(WEIGHT_BLOCK, 1)
    return codes * wide[: codes.shape[0], : codes.shape[1]]


def quantise_fp4_weight(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Values on the e2m1 grid [..., K] and their float scales [..., K/32]."""
    groups = weight.float().unflatten(-1, (-1, EXPERT_GROUP))
    scale = power_of_two_scale(groups.abs().amax(-1).clamp(min=1e-12), FP4_MAX)
    return round_e2m1(groups / scale[..., None]).flatten(-2), scale


def dequantise_fp4_weight(codes: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
    """The weight that the codes and scales stand for."""
    return (codes.unflatten(-1, (-1, EXPERT_GROUP)) * scale[..., None]).flatten(-2)


def pack_fp4(codes: torch.Tensor) -> torch.Tensor:
    """e2m1 values [N, K] as int8 bytes [N, K/2], even columns in the low nibble."""
    table = torch.tensor(FP4_VALUES)
    nibbles = torch.searchsorted(table, codes.abs().contiguous()) + 8 * torch.signbit(codes)
    packed = nibbles[:, 0::2] | (nibbles[:, 1::2] << 4)
    return packed.to(torch.uint8).view(torch.int8)


def unpack_fp4(packed: torch.Tensor) -> torch.Tensor:
    """The e2m1 values of packed bytes."""
    table = torch.tensor(FP4_VALUES + tuple(-v for v in FP4_VALUES))
    raw = packed.view(torch.uint8).long()
    return torch.stack((table[raw & 15], table[raw >> 4]), -1).flatten(-2)


def round_activation(x: torch.Tensor, group: int) -> torch.Tensor:
    """FP8 rounding of the last dimension in groups with power-of-two scales."""
    groups = x.float().unflatten(-1, (-1, group))
    scale = power_of_two_scale(
        groups.abs().amax(-1, keepdim=True).clamp(min=SMALLEST_AMAX), FP8_MAX
    )
    return (round_e4m3(groups / scale) * scale).flatten(-2).to(x.dtype)


class StraightThrough(torch.autograd.Function):
    """Rounds activations in the forward pass and passes gradients through unchanged."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, group: int) -> torch.Tensor:
        return round_activation(x, group)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor):
        return gradient, None


def straight_through(x: torch.Tensor, group: int) -> torch.Tensor:
    """`StraightThrough` as a function."""
    return StraightThrough.apply(x, group)
