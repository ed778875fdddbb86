"""The library is found without being parsed, and parsed where it matters."""

from __future__ import annotations

from specc.sema import library


def test_interfaces_are_found_by_each_name_that_they_give() -> None:
    for part in ("process", "predict"):
        given = {d.name: {library.declares(item) for item in d.body.items} for d in library.interfaces(part) if d.body}
        assert given
        for name in set().union(*given.values()) - {None}:
            assert {n for n, names in given.items() if name in names} <= {d.name for d in library.interfaces(part, naming=name)}


def test_a_definition_is_parsed_once() -> None:
    assert library.find("process", "vp") is library.find("process", "vp", ("gaussian", "kernel"))
    assert library.find("interface", "gaussian") in library.interfaces("process")


def test_a_head_of_several_lines_is_one() -> None:
    (entry,) = [e for e in library.catalogue() if e.name == "transformer" and e.kind == "backbone"]
    assert "\n" in entry.text.split(") {")[0]
    assert "\n" not in entry.signature and entry.signature.startswith("transformer(")
