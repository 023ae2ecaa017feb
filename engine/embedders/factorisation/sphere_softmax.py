"""A softmax loss on the unit sphere, its gradients written out.

Fewer passes over memory than autograd's own, which took as long as the products.
"""

from __future__ import annotations

from typing import Any, cast

import torch

SMALLEST = 1e-12  # a row of zeros stays one


def on_sphere(table: torch.Tensor) -> torch.Tensor:
    """The rows of `table` (n, dim) at unit length, differentiable."""
    return cast(torch.Tensor, _Unit.apply(table))  # type: ignore[no-untyped-call]


def log_sum_exp(users: torch.Tensor, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """logsumexp(users @ items.T) by user (n_users,), differentiable, and the products (n_users, n_items), not so."""
    return cast(tuple[torch.Tensor, torch.Tensor], _LogSumExp.apply(users, items))  # type: ignore[no-untyped-call]


class _Unit(torch.autograd.Function):
    """y = x / |x|, dx = (dy - (dy . y) y) / |x|."""

    @staticmethod
    def forward(ctx: Any, table: torch.Tensor) -> torch.Tensor:
        scales = torch.linalg.vector_norm(table, dim=1, keepdim=True).clamp_min_(SMALLEST).reciprocal_()
        unit = table * scales
        ctx.save_for_backward(unit, scales)
        return unit

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        unit, scales = ctx.saved_tensors
        (gradient,) = gradients
        along = torch.linalg.vecdot(gradient, unit).unsqueeze(1)
        return torch.addcmul(gradient, unit, along, value=-1).mul_(scales)


class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, users: torch.Tensor, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        products = users @ items.T
        sums = torch.logsumexp(products.to(users.dtype), dim=1)
        ctx.save_for_backward(users, items, products, sums)
        ctx.mark_non_differentiable(products)
        return sums, products

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        users, items, products, sums = ctx.saved_tensors
        kind = products.dtype  # bfloat16 where the products were made in it
        shares = (products - sums.unsqueeze(1)).exp_().mul_(gradients[0].unsqueeze(1)).to(kind)
        return (shares @ items.to(kind)).to(users.dtype), (shares.T @ users.to(kind)).to(items.dtype)
