"""The trie whose root a header holds: a list's values under the keys rlp(0), rlp(1), …, built once and never changed.

A node is a leaf, an extension or a branch. It stands in its parent by its hash, or as it is where it has fewer than 32
bytes. Keys are taken four bits at a time, written here as hexadecimal digits. No key of a list begins another, so no
branch has a value of its own.
"""

from binascii import unhexlify
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tocsin.proofs import rlp
from tocsin.proofs.errors import Malformed, WrongPath
from tocsin.proofs.keccak import keccak

__all__ = ["EMPTY_ROOT", "path", "root", "value_at"]

nodes_max = 16  # on a path: a key has at most five bytes, which is ten digits and as many nodes
_DIGITS = "0123456789abcdef"
_BRANCH = 17
_ABSENT = b"\x80"
_HASH = b"\xa0"

EMPTY_ROOT = keccak(_ABSENT)
"""The root where there are no values."""


def root(values: Sequence[bytes]) -> bytes:
    """The root of the trie of these values."""
    return keccak(_built(values, wanted=-1, found=[])) if values else EMPTY_ROOT


def path(values: Sequence[bytes], index: int) -> list[bytes]:
    """The nodes that one has to see to find the value at `index`: from the root down, without those in their parent."""
    if not 0 <= index < len(values):
        raise IndexError(f"there is no value {index} among {len(values)}")
    found: list[bytes] = []
    _built(values, wanted=index, found=found)
    return found[::-1]


def value_at(expected_root: bytes, index: int, nodes: Sequence[bytes], part: str = "path") -> bytes:
    """The value at `index` in the trie of this root, which these nodes lead to, all of them; else a `ProofError`."""
    if len(nodes) > nodes_max:
        raise Malformed(part, f"it has more than {nodes_max} nodes")
    onward = _Onward(expected_root, _key(index))
    for place, encoded in enumerate(nodes):
        here = f"{part}[{place}]"
        if keccak(encoded) != onward.hash:
            raise WrongPath(here, "its hash is not the one that leads to it")
        reached = _descended(rlp.decode(encoded, here), onward.digits, here)
        if isinstance(reached, bytes):
            if place != len(nodes) - 1:
                raise WrongPath(f"{part}[{place + 1}]", "the value was reached before it")
            return reached
        onward = reached
    raise WrongPath(part, "it ends before the value")


# --- building


def _key(index: int) -> str:
    return rlp.string(rlp.integer(index)).hex()


def _built(values: Sequence[bytes], *, wanted: int, found: list[bytes]) -> bytes:
    """The root node. Those above the value at `wanted` are added to `found`, lowest first."""
    # As the keys are sorted: 0 is written 0x80, after 0x7f and before 0x8180.
    order = [*range(1, min(len(values), 0x80)), 0, *range(0x80, len(values))]
    keys = [_key(index) for index in order]
    place = order.index(wanted) if wanted >= 0 else -1

    def node(start: int, end: int, depth: int) -> bytes:
        """The node of the keys from `start` to before `end`, which are alike in their first `depth` digits."""
        first = keys[start]
        if end - start == 1:
            built = rlp.listed((rlp.string(_compact(first[depth:], leaf=True)), rlp.string(values[order[start]])))
        else:
            # What the first and the last have in common, all between them have.
            shared = _in_common(first, keys[end - 1], depth)
            if shared:
                way = _compact(first[depth : depth + shared], leaf=False)
                built = rlp.listed((rlp.string(way), reference(start, end, depth + shared)))
            else:
                built = rlp.listed((*children(start, end, depth), _ABSENT))
        if start <= place < end and (len(built) >= 32 or depth == 0):
            found.append(built)
        return built

    def reference(start: int, end: int, depth: int) -> bytes:
        built = node(start, end, depth)
        return built if len(built) < 32 else _HASH + keccak(built)

    def children(start: int, end: int, depth: int) -> Iterable[bytes]:
        for digit in _DIGITS:
            stop = start
            while stop < end and keys[stop][depth] == digit:
                stop += 1
            yield reference(start, stop, depth + 1) if stop > start else _ABSENT
            start = stop

    return node(0, len(keys), 0)


def _in_common(first: str, last: str, depth: int) -> int:
    """How many digits from `depth` on are the same; the keys differ somewhere."""
    end = depth
    while first[end] == last[end]:
        end += 1
    return end - depth


def _compact(digits: str, *, leaf: bool) -> bytes:
    """Digits as bytes: before them whether this is a leaf, and whether their number is odd."""
    flag = 2 * leaf + len(digits) % 2
    return unhexlify(f"{flag}{digits}" if len(digits) % 2 else f"{flag}0{digits}")


# --- following


@dataclass(frozen=True, slots=True)
class _Onward:
    """The next node's hash, and the digits of the key that are left for it."""

    hash: bytes
    digits: str


def _descended(node: rlp.Item, digits: str, part: str) -> bytes | _Onward:
    """Where a node, and those that stand in it as they are, lead: the value, or onward."""
    match node:
        case [bytes(written), child]:
            way, leaf = _way(written, part)
            if leaf:
                if way != digits or not isinstance(child, bytes):
                    raise WrongPath(part, "it is the leaf of another value")
                return child
            if not way or not digits.startswith(way):
                raise WrongPath(part, "it leads elsewhere")
            left = digits[len(way) :]
        case [*_] if len(node) == _BRANCH and digits:
            child, left = node[int(digits[0], 16)], digits[1:]
        case _:
            raise WrongPath(part, "it is no node of a trie, or holds no value of a list")
    if isinstance(child, list):
        return _descended(child, left, part)
    if len(child) != 32:
        raise WrongPath(part, "it leads nowhere")
    return _Onward(child, left)


def _way(written: bytes, part: str) -> tuple[str, bool]:
    """The digits of a leaf or an extension, and whether it is a leaf."""
    text = written.hex()
    flag = int(text[0], 16) if text else 4
    if flag > 3 or (flag % 2 == 0 and text[1] != "0"):
        raise WrongPath(part, "its digits are not written as a trie writes them")
    return text[2 - flag % 2 :], flag >= 2
