"""Signatures as people write them, and values as the ABI lays them out."""

from __future__ import annotations

import pytest

from tocsin.abi import BadSignature, Malformed, Unencodable, decode, encode, read_event, read_function


@pytest.mark.parametrize(
    ("text", "canonical", "written"),
    [
        (
            "Transfer(address indexed from, address indexed to, uint256 value)",
            "Transfer(address,address,uint256)",
            "Transfer(address indexed from, address indexed to, uint256 value)",
        ),
        (" event  Paid( uint , int[ ] amounts ) ; ", "Paid(uint256,int256[])", "Paid(uint256, int256[] amounts)"),
        ("A()", "A()", "A()"),
        ("B(tuple(uint8 a, bytes b)[2] c)", "B((uint8,bytes)[2])", "B((uint8 a, bytes b)[2] c)"),
        ("C((uint8,bytes32)[][3] indexed)", "C((uint8,bytes32)[][3])", "C((uint8, bytes32)[][3] indexed)"),
        ("D(address payable to, string memory text)", "D(address,string)", "D(address to, string text)"),
    ],
)
def test_an_event_has_one_spelling(text: str, canonical: str, written: str) -> None:
    event = read_event(text)
    assert (event.canonical, str(event)) == (canonical, written)
    assert read_event(str(event)) == event


@pytest.mark.parametrize(
    ("text", "position", "detail"),
    [
        ("", 0, "expected the name of the event; found the end"),
        ("Transfer", 8, "expected '('; found the end"),
        ("Transfer(adress from)", 9, "expected a type: address, bool"),
        ("Transfer(uint257 x)", 9, "expected a type"),
        ("Transfer(bytes33 x)", 9, "expected a type"),
        ("Transfer(address from address to)", 22, "expected ','; found 'address'"),
        ("Transfer(address a, uint a)", 25, "two parameters have the same name"),
        ("Transfer(address from,)", 22, "expected a type"),
        ("Transfer(address from) returns", 23, "expected the end; found 'returns'"),
        ("Transfer(address from) anonymous", 23, "anonymous events have no topic"),
        ("Transfer(address=from)", 16, "'=' has no place in a signature"),
        ("T(uint[0] x)", 7, "an array has 1 to 1024 elements"),
        ("T(uint[][][][][] x)", 14, "nested at most 4 deep"),
        ("T((((((uint))))))", 6, "nested at most 4 deep"),
        ("T(() x)", 2, "a tuple has at least one member"),
        ("T(uint a indexed)", 9, "expected ','"),
        ("T(uint indexed memory)", 15, "expected a name, ',' or ')'"),
        ("T(" + ",".join(["uint"] * 33) + ")", 162, "at most 32 parameters"),
        ("T(uint indexed, uint indexed, uint indexed, uint indexed)", 0, "at most 3 indexed"),
    ],
)
def test_what_is_no_event_is_refused_where_it_stops_being_one(text: str, position: int, detail: str) -> None:
    with pytest.raises(BadSignature) as refusal:
        read_event(text)
    assert (refusal.value.position, detail in str(refusal.value)) == (position, True), str(refusal.value)


def test_a_function_says_what_it_takes_and_answers() -> None:
    function = read_function("function getReserves(uint at) external view returns (uint112 a, uint112, bool ok)")
    assert function.canonical == "getReserves(uint256)"
    assert str(function) == "getReserves(uint256 at) returns (uint112 a, uint112, bool ok)"
    assert [each.name for each in function.outputs] == ["a", "value1", "ok"]


@pytest.mark.parametrize(
    ("text", "detail"),
    [
        ("f()", "expected 'returns (…)'"),
        ("f() returns ()", "answers nothing"),
        ("f(uint indexed a) returns (uint)", "expected a name, ',' or ')'"),
    ],
)
def test_what_is_no_function_that_answers_is_refused(text: str, detail: str) -> None:
    with pytest.raises(BadSignature) as refusal:
        read_function(text)
    assert detail in str(refusal.value)


def word(number: int) -> str:
    return f"{number:064x}"


@pytest.mark.parametrize(
    ("types", "data", "detail"),
    [
        ("uint256 a", "", "a: the data ends before it"),
        ("uint256 a, uint256 b", word(1), "b: the data ends before it"),
        ("uint8 a", word(256), "a: 256 is no uint8"),
        ("int8 a", word(128), "a: 128 is no int8"),
        ("bool a", word(2), "a: a bool is 0 or 1"),
        ("address a", word(2**160), "a: an address has 20 bytes"),
        ("bytes4 a", word(1), "a: bytes4 has more than 4 bytes"),
        ("bytes a", word(32) + word(5), "a: 5 bytes are announced, 0 are there"),
        ("bytes a", word(2**255), "a: a length or an offset leads out of the data"),
        ("string a", word(32) + word(1) + "ff" + "00" * 31, "a: byte 0 of the text is not UTF-8"),
        ("string a", word(32) + word(1) + "00" * 32, "a: the text holds U+0000"),
        ("uint256[] a", word(32) + word(2) + word(1), "a: 2 elements are announced"),
        ("(uint8 b, bool c) a", word(1) + word(3), "a.c: a bool is 0 or 1"),
        ("uint8[2] a", word(1) + word(300), "a[1]: 300 is no uint8"),
        # Offsets that all lead to the same place: little data that says it is much.
        ("bytes[] a", word(32) + word(8) + word(0x100) * 8 + word(64) + "aa" * 64, "so they overlap"),
        (
            "uint256[][] a",
            word(32) + word(200) + word(6400) * 200 + word(100) + word(1) * 100,
            "there are more than 10000 values",
        ),
    ],
)
def test_data_of_another_shape_is_malformed_and_says_where(types: str, data: str, detail: str) -> None:
    with pytest.raises(Malformed) as refusal:
        decode(read_function(f"f() returns ({types})").outputs, bytes.fromhex(data))
    assert detail in str(refusal.value)


@pytest.mark.parametrize(
    ("types", "values", "path", "detail"),
    [
        ("uint8 a", [], (), "takes 1 arguments, and 0 are given"),
        ("uint8 a", [256], (0,), "does not fit into uint8"),
        ("uint8 a", ["-1"], (0,), "does not fit into uint8"),
        ("uint8 a", [1.5], (0,), "an integer, or its decimal digits"),
        ("uint8 a", [True], (0,), "an integer"),
        ("bool a", [1], (0,), "true or false"),
        ("bool a, address b", [True, "0x12"], (1,), "40 hexadecimal digits"),
        ("bytes4 a", ["0x12"], (0,), "has 4 bytes, and 1 are given"),
        ("bytes a", ["0x1"], (0,), "two hexadecimal digits"),
        ("string a", [1], (0,), "string is a string"),
        ("uint8[2] a", [[1]], (0,), "has 2 elements, and 1 are given"),
        ("uint8[] a", [[1, "x"]], (0, 1), "an integer"),
        ("(uint8 b, bool c) a", [{"b": 1}], (0,), "an object with b, c"),
        ("(uint8 b, bool c) a", [{"b": 1, "c": 2}], (0, "c"), "true or false"),
    ],
)
def test_an_argument_of_another_type_is_refused_with_its_place(
    types: str, values: list[object], path: tuple[str | int, ...], detail: str
) -> None:
    with pytest.raises(Unencodable) as refusal:
        encode(read_function(f"f({types}) returns (uint)").inputs, values)
    assert (refusal.value.path, detail in str(refusal.value)) == (path, True), str(refusal.value)
