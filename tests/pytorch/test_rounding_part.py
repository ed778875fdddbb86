"""The part `rounding`: what it rounds to is compared in test_printed_ops.py; here is how gradients pass."""

import pytest
import torch
from specc.backends.pytorch.parts import rounding
from torch.nn import functional as F

KINDS = {
    "integers": lambda x: rounding.integers(x, bits=3),
    "affine": lambda x: rounding.affine(x, bits=3, block=4),
    "ternary": lambda x: rounding.ternary(x, dim=(0, 1)),
    "floats": lambda x: rounding.floats(x, exponent=2, mantissa=1, largest=6.0, block=4, powers=True),
    "fixed": lambda x: rounding.fixed(x, bits=8, dim=0),
}


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_pass_straight_through(kind):
    x = torch.randn(3, 6, generator=torch.Generator().manual_seed(0)).requires_grad_()
    w = torch.arange(18.0).reshape(3, 6)
    y = KINDS[kind](x)
    assert (y - x).abs().max() > 1e-4
    (g,) = torch.autograd.grad((y * w).sum(), x, create_graph=True)
    torch.testing.assert_close(g, w)
    (g,) = torch.autograd.grad(y.square().sum(), x, create_graph=True)
    torch.testing.assert_close(g, 2 * KINDS[kind](x))
    (gg,) = torch.autograd.grad(g.sum(), x)
    torch.testing.assert_close(gg, torch.full_like(x, 2))
    value, tangent = torch.func.jvp(KINDS[kind], (x.detach(),), (w,))
    torch.testing.assert_close(value, y.detach())
    torch.testing.assert_close(tangent, w)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_zero_stays_zero(kind):
    assert not KINDS[kind](torch.zeros(3, 6)).any()


def test_every_product_of_a_linear_map_is_rounded_along_its_sum():
    """Both backward products take the numbers as they were and cut their own blocks: transposing what was rounded for the
    forward product gives another gradient."""
    g = torch.Generator().manual_seed(0)
    x, w, b = (torch.randn(*shape, generator=g).requires_grad_() for shape in ((2, 40, 70), (33, 70), (33,)))
    up = torch.randn(2, 40, 33, generator=g)
    kind = rounding.mxfp6_e3m2
    y = rounding.linear(x, w, b, weights=kind, activations=kind, gradients=kind)
    torch.testing.assert_close(y, kind(x) @ kind(w).T + b)
    of_x, of_w, of_b = torch.autograd.grad(y, (x, w, b), up)
    rows, flat = x.detach().flatten(0, 1), up.flatten(0, 1)
    torch.testing.assert_close(of_x, kind(up) @ kind(w.detach().T.contiguous()).T)
    torch.testing.assert_close(of_w, kind(flat.T.contiguous()) @ kind(rows.T.contiguous()).T)
    torch.testing.assert_close(of_b, flat.sum(0))
    assert (of_x - kind(up) @ kind(w.detach())).abs().max() > 1e-3
    assert (of_w - flat.T @ rows).abs().max() > 1e-2


def test_gradients_of_attention_are_those_of_weights_that_are_not_rounded():
    g = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(2, 3, 5, 4, generator=g).requires_grad_() for _ in range(3))
    up = torch.randn(2, 3, 5, 4, generator=g)
    plain = rounding.weights(q, k, is_causal=True)
    few = rounding.integers(plain, bits=4)
    torch.testing.assert_close(plain @ v, F.scaled_dot_product_attention(q, k, v, is_causal=True))
    of_q, of_k, of_v = torch.autograd.grad(few @ v, (q, k, v), up, retain_graph=True)
    for found, wanted in zip((of_q, of_k), torch.autograd.grad(plain @ v, (q, k), up), strict=True):
        torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(of_v, few.mT @ up)
    assert (of_v - plain.mT @ up).abs().max() > 1e-2
