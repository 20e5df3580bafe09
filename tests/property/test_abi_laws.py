"""What is encoded is what an independent implementation encodes, and is read back; and no data breaks the reader."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from eth_abi.abi import encode as encoded_elsewhere
from hypothesis import given
from hypothesis import strategies as st

from tocsin.abi import Kind, Malformed, Parameter, decode, encode, read_event, read_function

elementary = st.sampled_from(
    ["uint8", "uint256", "int24", "int256", "address", "bool", "bytes1", "bytes32", "bytes", "string"]
)
kinds = st.recursive(
    elementary.map(lambda name: Kind(elementary=name)),
    lambda inner: (
        st.builds(lambda element, size: Kind(element=element, size=size), inner, st.none() | st.integers(1, 3))
        | st.lists(inner, min_size=1, max_size=3).map(
            lambda members: Kind(members=tuple(Parameter(each, f"m{n}") for n, each in enumerate(members)))
        )
    ),
    max_leaves=4,
)
integers = {
    "uint8": (0, 255),
    "uint256": (0, 2**256 - 1),
    "int24": (-(2**23), 2**23 - 1),
    "int256": (-(2**255), 2**255 - 1),
}


def values(kind: Kind) -> st.SearchStrategy[Any]:
    if kind.members is not None:
        return st.fixed_dictionaries({each.name: values(each.kind) for each in kind.members})
    if kind.element is not None:
        size = kind.size
        return st.lists(values(kind.element), min_size=size or 0, max_size=3 if size is None else size)
    assert kind.elementary is not None
    if kind.elementary in integers:
        return st.integers(*integers[kind.elementary])
    if kind.elementary == "bool":
        return st.booleans()
    if kind.elementary == "string":
        return st.sampled_from(["", "a", "ü" * 20, "€" * 11])
    sizes = {"address": (20, 20), "bytes1": (1, 1), "bytes32": (32, 32), "bytes": (0, 70)}
    low, high = sizes[kind.elementary]
    return st.binary(min_size=low, max_size=high).map(lambda content: "0x" + content.hex())


def plain(kind: Kind, value: Any) -> Any:
    """The value as eth-abi takes it."""
    if kind.members is not None:
        return tuple(plain(each.kind, value[each.name]) for each in kind.members)
    if kind.element is not None:
        return [plain(kind.element, each) for each in value]
    is_bytes = kind.elementary is not None and kind.elementary.startswith("bytes")
    return bytes.fromhex(value[2:]) if is_bytes else value


written = st.lists(kinds, min_size=1, max_size=3).flatmap(
    lambda made: st.tuples(st.just(made), st.tuples(*(values(each) for each in made)))
)


@given(written)
def test_values_are_laid_out_as_eth_abi_does_and_read_back(given: tuple[list[Kind], tuple[Any, ...]]) -> None:
    made, chosen = given
    parameters = [Parameter(kind, f"p{n}") for n, kind in enumerate(made)]
    laid_out = encode(parameters, list(chosen))
    expected = encoded_elsewhere(
        [kind.canonical for kind in made], [plain(k, v) for k, v in zip(made, chosen, strict=True)]
    )
    assert laid_out == expected
    assert decode(parameters, laid_out) == {f"p{n}": value for n, value in enumerate(chosen)}


@given(st.lists(kinds, min_size=1, max_size=3), st.lists(st.sampled_from([0, 1, 2, 32, 64, 96, 2**255]), max_size=24))
def test_any_data_is_read_or_malformed(made: list[Kind], numbers: list[int]) -> None:
    data = b"".join(number.to_bytes(32) for number in numbers)
    with suppress(Malformed):
        assert decode([Parameter(kind, f"p{n}") for n, kind in enumerate(made)], data).keys()


@given(st.lists(st.tuples(kinds, st.booleans(), st.booleans()), max_size=4))
def test_a_signature_is_read_back_as_it_is_written(made: list[tuple[Kind, bool, bool]]) -> None:
    parameters = [
        f"{kind.canonical}{' indexed' if indexed and place < 3 else ''}{f' n{place}' if named else ''}"
        for place, (kind, indexed, named) in enumerate(made)
    ]
    event = read_event(f"E({', '.join(parameters)})")
    assert read_event(str(event)) == event
    function = read_function(f"f({','.join(kind.canonical for kind, _, _ in made)}) returns (uint)")
    assert read_function(str(function)) == function
    assert event.canonical[1:] == function.canonical[1:]
