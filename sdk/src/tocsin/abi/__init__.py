"""How contracts write what they say: signatures as people write them, and values as the ABI lays them out. Pure.

>>> event = read_event("Transfer(address indexed from, address indexed to, uint256 value)")
>>> event.canonical
'Transfer(address,address,uint256)'
>>> [parameter.name for parameter in event.inputs]
['from', 'to', 'value']
>>> function = read_function("balanceOf(address) returns (uint256)")
>>> decode(function.outputs, (5).to_bytes(32, "big"))
{'value0': 5}
"""

from tocsin.abi.coding import Malformed, Unencodable, decode, encode
from tocsin.abi.signatures import (
    BadSignature,
    Event,
    Function,
    Kind,
    Parameter,
    is_dynamic,
    read_event,
    read_function,
)

__all__ = [
    "BadSignature",
    "Event",
    "Function",
    "Kind",
    "Malformed",
    "Parameter",
    "Unencodable",
    "decode",
    "encode",
    "is_dynamic",
    "read_event",
    "read_function",
]
