"""Who signed: the public key that a signature on secp256k1 belongs to (SEC 1, 4.1.6). For checking what is public only:
how long it takes depends on its input.
"""

from typing import TypeAlias

__all__ = ["recovered"]

# SEC 2, 2.4.1: y² = x³ + 7 over the integers modulo P, and a point of prime order N.
P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
G = (
    0x79BE667EF9DCBBAC55A06295CE870B07029BFCDB2DCE28D959F2815B16F81798,
    0x483ADA7726A3C4655DA4FBFC0E1108A8FD17B448A68554199C47D08FFB10D4B8,
)

_Point: TypeAlias = tuple[int, int, int]
"""A point as (x/z², y/z³), which spares divisions; z is 0 at infinity."""
_INFINITY: _Point = (0, 1, 0)


def recovered(hashed: bytes, r: int, s: int, y_is_odd: bool) -> bytes | None:
    """The 64 bytes of the key whose signature of this hash it is; None where it is nobody's."""
    if not (0 < r < N and 0 < s < N):
        return None
    y = _y_at(r, y_is_odd)
    if y is None:
        return None
    inverse = pow(r, -1, N)
    number = int.from_bytes(hashed, "big")
    x, y, z = _sum_of(-number * inverse % N, (*G, 1), s * inverse % N, (r, y, 1))
    if z == 0:
        return None
    inverse = pow(z, -1, P)
    square = inverse * inverse % P
    return (x * square % P).to_bytes(32, "big") + (y * square * inverse % P).to_bytes(32, "big")


def _y_at(x: int, is_odd: bool) -> int | None:
    """The y of a point; None where there is none at this x."""
    square = (pow(x, 3, P) + 7) % P
    y = pow(square, (P + 1) // 4, P)
    if y * y % P != square:
        return None
    return y if y % 2 == is_odd else P - y


def _sum_of(first: int, one: _Point, second: int, other: _Point) -> _Point:
    """`first` times one point and `second` times another, both at once, from the highest bit down."""
    both = _added(one, other)
    total = _INFINITY
    for bit in range(max(first, second).bit_length() - 1, -1, -1):
        total = _doubled(total)
        match first >> bit & 1, second >> bit & 1:
            case 1, 1:
                total = _added(total, both)
            case 1, 0:
                total = _added(total, one)
            case 0, 1:
                total = _added(total, other)
            case _:
                pass
    return total


def _doubled(point: _Point) -> _Point:
    x, y, z = point
    if y == 0 or z == 0:
        return _INFINITY
    square = y * y % P
    mixed = 4 * x * square % P
    slope = 3 * x * x % P
    new_x = (slope * slope - 2 * mixed) % P
    return new_x, (slope * (mixed - new_x) - 8 * square * square) % P, 2 * y * z % P


def _added(one: _Point, other: _Point) -> _Point:
    x1, y1, z1 = one
    x2, y2, z2 = other
    if z1 == 0:
        return other
    if z2 == 0:
        return one
    square1, square2 = z1 * z1 % P, z2 * z2 % P
    u1, u2 = x1 * square2 % P, x2 * square1 % P
    s1, s2 = y1 * square2 * z2 % P, y2 * square1 * z1 % P
    if u1 == u2:
        return _doubled(one) if s1 == s2 else _INFINITY
    h, slope = (u2 - u1) % P, (s2 - s1) % P
    cube = h * h * h % P
    mixed = u1 * h * h % P
    x = (slope * slope - cube - 2 * mixed) % P
    return x, (slope * (mixed - x) - s1 * cube) % P, h * z1 * z2 % P
