"""The part `rounding`: what it rounds to is compared in test_printed_ops.py; here is how gradients pass."""

import pytest
import torch
from specc.backends.pytorch.parts import rounding

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
