"""Products of bf16 matrices computed in float32.

A CPU without bf16 units takes many times longer over bf16 products than over float32 ones. The
values are the same up to the order of summation: products of bf16 numbers are exact in float32,
the sums are kept in float32 and rounded to bf16 once.
"""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = (
    torch.ops.aten.mm.default,
    torch.ops.aten.bmm.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.baddbmm.default,
)


class WideProducts(TorchDispatchMode):
    """Computes bf16 matrix products in float32 while it is active."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func not in PRODUCTS or args[0].dtype != torch.bfloat16:
            return func(*args, **kwargs)
        return func(*(arg.float() for arg in args), **kwargs).bfloat16()
