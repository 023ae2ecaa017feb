"""The gradients written out are the ones autograd finds."""

import torch
from torch.autograd import gradcheck
from torch.nn.functional import normalize

from engine.embedders.factorisation.sphere_softmax import log_sum_exp, unit_rows


def table(rows, seed=0):
    drawn = torch.randn(rows, 5, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return drawn.requires_grad_()


def test_rows_of_unit_length_and_their_gradients():
    torch.testing.assert_close(unit_rows(table(7)), normalize(table(7), dim=1))
    assert gradcheck(unit_rows, (table(7),))


def test_a_row_of_zeros_stays_one_with_a_finite_gradient():
    zeros = torch.zeros(2, 3, requires_grad=True)
    unit = unit_rows(zeros)
    assert not unit.any()
    unit.sum().backward()
    assert torch.isfinite(zeros.grad).all()


def test_log_sum_exp_of_products_and_its_gradients():
    users, items = table(4), table(6, 1)
    sums, products = log_sum_exp(users, items)
    torch.testing.assert_close(products, users @ items.T)
    torch.testing.assert_close(sums, torch.logsumexp(users @ items.T, dim=1))
    assert not products.requires_grad
    assert gradcheck(lambda *tables: log_sum_exp(*tables)[0], (users, items))


def test_large_products_do_not_overflow():
    users = torch.full((1, 2), 300.0, requires_grad=True)
    sums, _ = log_sum_exp(users, torch.ones(3, 2))
    sums.sum().backward()
    assert torch.isfinite(sums).all()
    assert torch.isfinite(users.grad).all()


def test_products_in_half_precision_have_gradients_near_the_exact_ones():
    exact, users, items = (table(rows, rows).detach().float().requires_grad_() for rows in (4, 4, 6))
    log_sum_exp(exact, items)[0].sum().backward()
    with torch.autocast("cpu", torch.bfloat16):
        sums, products = log_sum_exp(users, items)
    sums.sum().backward()
    assert (products.dtype, sums.dtype, users.grad.dtype) == (torch.bfloat16, torch.float32, torch.float32)
    torch.testing.assert_close(users.grad, exact.grad, atol=0.05, rtol=0.05)
