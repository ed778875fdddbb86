"""What the library declares of the readers is what they give."""

from __future__ import annotations

import numpy as np
import pytest

from specc.runtime.readers import READERS
from specc.sema import library
from specc.sema.reading import ANY, fields


@pytest.mark.parametrize("name", sorted(library.names("reader")))
def test_knobs_and_fields_are_those_of_the_reader(name: str) -> None:
    declared, reader = library.find("reader", name), READERS[name]
    assert declared is not None
    assert [p.name for p in declared.params] == list(reader.options)
    given = fields(declared.body)
    assert ANY in given or {"x", *given} == set(reader.fields)


CLASSES = {"moons": 2, "eight_gaussians": 8, "gaussians": 5, "checkerboard": 8, "pinwheel": 5, "mixture": 2, "digits": 10}


@pytest.mark.parametrize(("name", "classes"), CLASSES.items())
def test_classes_are_as_many_as_declared(name: str, classes: int) -> None:
    pytest.importorskip("sklearn")
    reader = READERS[name]
    found = reader.function("all") if reader.kind == "finite" else reader.function(2000, np.random.default_rng(0))
    assert set(found["y"]) == set(range(classes))
