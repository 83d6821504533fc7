"""Muon: momentum whose matrices are orthogonalised before each step."""

from __future__ import annotations

import torch

NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)
STEPS = 5


def orthogonalised(matrices: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """The nearly orthogonal factors of a stack of matrices [count, rows, columns].

    They are computed in `dtype`, of which bf16 is exact enough.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrices.to(dtype)
    tall = x.shape[1] > x.shape[2]
    if tall:
        x = x.transpose(1, 2)
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(STEPS):
        gram = x @ x.transpose(1, 2)
        x = a * x + (b * gram + c * gram @ gram) @ x
    return (x.transpose(1, 2) if tall else x).to(matrices.dtype)


class Muon(torch.optim.Optimizer):
    """Muon over parameters seen as stacks of matrices, grouped by matrix shape.

    Each parameter carries `stack`, the number of matrices its rows hold.
    """

    def __init__(
        self,
        parameters,
        lr: float,
        momentum: float = 0.95,
        decay: float = 0.0,
        dtype: torch.dtype = torch.bfloat16,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "momentum": momentum, "decay": decay})
        self.dtype = dtype

    @torch.no_grad()
    def step(self, closure=None) -> None:
        """One update."""
        for group in self.param_groups:
            shapes: dict[tuple[int, int], list[tuple[torch.Tensor, torch.Tensor]]] = {}
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state[parameter]
                if "momentum" not in state:
                    state["momentum"] = torch.zeros_like(parameter)
                state["momentum"].lerp_(parameter.grad, 1 - group["momentum"])
                update = parameter.grad.lerp(state["momentum"], group["momentum"])
                columns = parameter.shape[-1]
                update = update.reshape(parameter.stack, -1, columns)
                shapes.setdefault(tuple(update.shape[1:]), []).append((parameter, update))
            for (rows, columns), members in shapes.items():
                stacked = orthogonalised(
                    torch.cat([update for _, update in members]), self.dtype
                )
                scale = group["lr"] * max(1.0, rows / columns) ** 0.5
                sizes = [len(update) for _, update in members]
                for (parameter, _), update in zip(members, stacked.split(sizes)):
                    parameter.mul_(1 - group["lr"] * group["decay"])
                    parameter.add_(update.reshape(parameter.shape), alpha=-scale)
