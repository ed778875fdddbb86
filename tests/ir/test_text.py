"""Programs as text."""

from __future__ import annotations

from rich_program import rich

from specc.ir.ops import Op
from specc.ir.program import Builder, Function, Ids
from specc.ir.text import to_text
from specc.ir.types import FLOAT
from specc.passes.batch import batch

TEXT = """\
# Rings.
# Two of them.
program rings: example level, from rings.spec, digest 0123456789ab
data x: vector(2,) float in [-1.0, inf] from ring(n = 100, noise = 0.1) |> shuffle
condition y: class int classes 10 drop 0.1
train steps = 100
train optimizer = adam(lr = 0.001, betas = (0.9, 0.99))
train ema = None
quantize small: first keep
quantize small: * weights int8
evaluate nfe(compare = <=, bound = 4)
network backbone = mlp
sampler walk = walk(seed: seed int per example, scale: argument float = 0.5) over backbone, 4 network calls  # walk

# backbone mlp(width = 2)
network mlp(%x: float[2] per example, %t: float per example):
  %1 = param init = (normal, 0.5), path = mix.weight, shape = (2, 2) : float[2, 2]
  %2 = param init = (zeros,), path = mix.bias, shape = (2,) : float[2]
  %h = linear %x, %1, %2 : float[2] per example
  %3 = silu %h : float[2] per example
  %h.2 = mul %3, %t : float[2] per example
  return %h.2

# sampler walk(steps = 4)  [rings.spec:2]
entry walk(%seed: int per example, %scale: float):
  %1 = const dtype = float, shape = (10,), value = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, ... 10 in all) : float[10]
  %2 = const dtype = float, shape = (2,), value = -inf : float[2]
  %z = normal %seed, axes = (example,), keyed = True, place = 0, shape = (2,) : float[2] per example
  %z.2 = for 4, %z : float[2] per example
    body(%k: int, %z.3: float[2] per example):
      %3 = take %1, %k, axis = 0, batch = 0 : float
      %t = spread %3, %z.3 : float per example
      %4, %5 = call mlp(%z.3, %t, %z.3, %t) over backbone, lanes = 2 : float[2] per example, float[2] per example
      %6 = sub %4, %5 : float[2] per example
      %z.4 = max %6, %2 : float[2] per example
      return %z.4
  %7 = while %z.2, limit = 3 : float[2] per example
    test(%u: float[2] per example):
      %8 = sum %u, axes = (0,) : float per example
      %9 = lt %8, 9.0 : bool per example
      return %9
    body(%v: float[2] per example):
      %10 = exp %v : float[2] per example
      %11 = add %v, %10 : float[2] per example
      return %11
  %12 = lt %scale, 1.0 : bool
  %13 = if %12 : float[2] per example
    then():
      %14 = neg %7 : float[2] per example
      return %14
    else():
      return %7
  return %13
"""


def test_a_program():
    assert to_text(rich()) == TEXT


def test_array_level_shows_the_batch():
    text = to_text(batch(rich()))
    assert "program rings: array level" in text
    assert "%h = linear %x, %1, %2 : float[B, 2]" in text


def test_a_function_does_not_depend_on_the_numbers_of_values():
    def made(last: int) -> Function:
        b = Builder(Ids(last))
        t = b.param(FLOAT, "t")
        one = b.add(Op.CONST, value=1, shape=(), dtype="int")
        return Function(name="f", kind="function", block=b.block(b.add(Op.ADD, t, one), one))

    want = "function f(%t: float):\n  %1 = add %t, 1 : float\n  return %1, 1\n"
    assert to_text(made(0)) == to_text(made(77)) == want
