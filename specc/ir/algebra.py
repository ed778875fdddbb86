"""Scalars in normal form: sums of products of atoms with whole exponents.

`Forms` keeps the form of each scalar of a block, once with products of sums multiplied out and once with sums as factors of
their own, and writes a value anew when one of the forms takes fewer operations than the value did. So (1 - t) + t becomes
1 and a b / a becomes b, and what is as short as it can be stays as its author wrote it. A product is only multiplied out for
good when one term is left: 1 - a^2 is shorter than (1 - a) (1 + a), and less exact near 1.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from specc.ir.calc import Calc
from specc.ir.ops import Op
from specc.ir.program import Builder, Node, Value
from specc.ir.types import BATCH, DType, Type

TERMS = 12  # a longer sum is an atom
Monomial = tuple[tuple[int, int], ...]  # (number of an atom, exponent), in order of the numbers
Form = dict[Monomial, float]  # coefficients, in order of appearance
POLYNOMIAL = {Op.NEG, Op.ADD, Op.SUB, Op.MUL, Op.DIV, Op.POW}


def is_scalar(type: Type) -> bool:
    """One float, or one for each example."""
    return type.dtype is DType.FLOAT and type.shape in ((), (BATCH,))


@dataclass
class Forms:
    """Forms of the scalars that a builder has made, by number of value. `expand`: multiply sums out."""

    builder: Builder
    expand: bool
    forms: dict[int, Form] = field(default_factory=dict)
    atoms: dict[int, Value] = field(default_factory=dict)
    sums: dict[tuple[tuple[Monomial, float], ...], int] = field(default_factory=dict)  # factors that are sums

    def of(self, value: Value) -> Form:
        """The form of a value whose operands have theirs already; an atom where it has none."""
        if value.id not in self.forms:
            number = Calc(self.builder).uniform(value)
            node = self.builder.made_by(value)
            made: Form | None = None
            if number is not None:
                made = _cleaned({(): float(number)})
            elif (
                node is not None
                and node.op in POLYNOMIAL
                and is_scalar(value.type)
                and all(_is_number(v.type) for v in node.inputs)
            ):
                made = self.combined(node)
            self.forms[value.id] = self.atom(value) if made is None or len(made) > TERMS else made
        return self.forms[value.id]

    def atom(self, value: Value) -> Form:
        self.atoms[value.id] = value
        return self.atom_form(value)

    def atom_form(self, value: Value) -> Form:
        return {((value.id, 1),): 1.0}

    def inside(self, builder: Builder) -> Forms:
        """The same knowledge for a region."""
        return Forms(builder, self.expand, dict(self.forms), dict(self.atoms), dict(self.sums))

    def combined(self, node: Node) -> Form | None:
        left = self.of(node.inputs[0])
        if node.op is Op.NEG:
            return {m: -c for m, c in left.items()}
        right = self.of(node.inputs[1])
        match node.op:
            case Op.ADD:
                return _sum(left, right, 1)
            case Op.SUB:
                return _sum(left, right, -1)
            case Op.MUL:
                return self.product(node, left, right)
            case Op.DIV:
                below = self.power(node.inputs[1], right, -1)
                return None if below is None else self.product(node, left, below)
            case _:
                k = right.get((), 0.0) if not right or list(right) == [()] else 0.5
                return self.power(node.inputs[0], left, int(k)) if k == int(k) and abs(k) <= 8 else None

    def product(self, node: Node, left: Form, right: Form) -> Form | None:
        if not self.expand and len(left) != 1 and left:
            left = self.factor(node.inputs[0], left)
        if not self.expand and len(right) != 1 and right:
            right = self.factor(node.inputs[1], right)
        if len(left) * len(right) > TERMS:
            return None
        made: Form = {}
        for m, a in left.items():
            for n, b in right.items():
                made = _sum(made, {_times(m, n): a * b}, 1)
        return made

    def power(self, value: Value, form: Form, k: int) -> Form | None:
        """A form to a whole power; of a sum, a power of the sum as one factor."""
        if not form:
            return {} if k > 0 else None
        if len(form) > 1:
            form = self.factor(value, form)
        ((monomial, coefficient),) = form.items()
        if abs(k) > 1 and any(abs(e) > 1 for _, e in monomial):
            return None  # a power of a power rounds as its author wrote it: beside the same inner power it must cancel
        return {tuple((atom, e * k) for atom, e in monomial if e * k): coefficient**k}

    def factor(self, value: Value, form: Form) -> Form:
        """A sum as one atom, the same for equal sums."""
        key = tuple(sorted(form.items()))
        if key not in self.sums:
            self.sums[key] = value.id
            self.atoms[value.id] = value
        return {((self.sums[key], 1),): 1.0}


def _is_number(type: Type) -> bool:
    return is_scalar(type) or (type.dtype is DType.INT and not type.shape)


def _cleaned(form: Form) -> Form:
    return {m: c for m, c in form.items() if c != 0}


def _sum(left: Form, right: Form, sign: int) -> Form:
    made = dict(left)
    for m, c in right.items():
        made[m] = made.get(m, 0.0) + sign * c
    return _cleaned(made)


def _times(m: Monomial, n: Monomial) -> Monomial:
    exponents = dict(m)
    for atom, e in n:
        exponents[atom] = exponents.get(atom, 0) + e
    return tuple(sorted((atom, e) for atom, e in exponents.items() if e))


def shorter(forms: tuple[Forms, Forms], value: Value) -> Value | None:
    """The value in fewer operations, or None. forms: with products multiplied out, and without."""
    have, best = _tree(forms[0].builder, value), None
    for which in forms:
        form = which.of(value)
        if form == which.atom_form(value) or (which.expand and len(form) > 1):
            continue
        atoms = {atom for monomial in form for atom, _ in monomial}
        inner = set().union(*(_tree(which.builder, which.atoms[atom]) for atom in atoms))
        price = cost(form) + len(inner)
        if price < len(have) and (best is None or price < best[0]):
            best = (price, which, form)
    return None if best is None else write(Calc(best[1].builder), best[2], best[1].atoms)


def _tree(builder: Builder, value: Value) -> set[int]:
    """The operations on scalars that a value is made of."""
    found: set[int] = set()
    waiting = [value]
    while waiting:
        v = waiting.pop()
        node = builder.made_by(v)
        if v.id not in found and node is not None and node.op in POLYNOMIAL and all(_is_number(x.type) for x in node.inputs):
            found.add(v.id)
            waiting.extend(node.inputs)
    return found


# The way back


def cost(form: Form) -> int:
    """Operations that `write` takes, without those of the atoms."""
    total = 0
    for i, (monomial, coefficient) in enumerate(_ordered(form)):
        above, below = _split(monomial)
        factor = abs(coefficient) if i else coefficient
        total += (i > 0) + sum(abs(e) != 1 for _, e in monomial) + bool(below)
        total += max(len(above) - 1, 0) + max(len(below) - 1, 0) + (factor != 1 and bool(above))
    return total


def write(c: Calc, form: Form, atoms: dict[int, Value]) -> Value:
    """Nodes for a form: terms in the order in which they appeared, one with a plus sign first."""
    total: Value | None = None
    for monomial, coefficient in _ordered(form):
        if total is None:
            total = _term(c, monomial, coefficient, atoms)
        else:
            op = Op.ADD if coefficient > 0 else Op.SUB
            total = c.op(op, total, _term(c, monomial, abs(coefficient), atoms))
    return c.number(0) if total is None else total


def _ordered(form: Form) -> list[tuple[Monomial, float]]:
    terms = list(form.items())
    first = next((i for i, (_, coefficient) in enumerate(terms) if coefficient > 0), 0)
    return [terms[first], *terms[:first], *terms[first + 1 :]] if terms else []


def _split(monomial: Monomial) -> tuple[Monomial, Monomial]:
    return tuple(p for p in monomial if p[1] > 0), tuple(p for p in monomial if p[1] < 0)


def _term(c: Calc, monomial: Monomial, coefficient: float, atoms: dict[int, Value]) -> Value:
    above, below = _split(monomial)
    made: Value | None = None
    for atom, e in above:
        made = _join(c, made, _power(c, atoms[atom], e))
    if made is None:
        made = c.number(coefficient)
    elif coefficient == -1:
        made = c.neg(made)
    elif coefficient != 1:
        made = c.op(Op.MUL, c.number(coefficient), made)
    divisor: Value | None = None
    for atom, e in below:
        divisor = _join(c, divisor, _power(c, atoms[atom], -e))
    return made if divisor is None else c.op(Op.DIV, made, divisor)


def _join(c: Calc, made: Value | None, factor: Value) -> Value:
    return factor if made is None else c.op(Op.MUL, made, factor)


def _power(c: Calc, atom: Value, e: int) -> Value:
    return atom if e == 1 else c.op(Op.POW, atom, c.number(e))
