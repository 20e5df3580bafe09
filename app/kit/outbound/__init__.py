"""The only way out of the house for requests to addresses that others chose.

Each request looks its host up once, judges every address that came back, and dials exactly what it judged, with the
Host header and the TLS name of the URL. So a name that answers differently a moment later changes nothing, and an open
connection is only reused for the same address, port and TLS name. No redirect is followed, no proxy variable is read,
no body is decompressed, no cookie is kept, and one deadline covers look-up, connection, TLS, headers and body.

Failures are values, judged by the caller. Their category is fit to be shown to the owner of the URL: a name that does
not resolve and a name that resolves to an address of ours look the same, as the difference would map our network for
them. Of an address that stands in the URL itself its owner is told what is wrong with it.

Who reads on: `client` is the verbs, `guard` says what may be called, `pool` opens connections and keeps them,
`connection` speaks HTTP/1.1 over one, `answers` is what comes back.
"""

from app.kit.outbound.answers import Answer, Category, Fault, Timings
from app.kit.outbound.client import Outbound, response_bytes_max
from app.kit.outbound.connection import idle_connection_seconds, response_header_bytes_max, response_headers_max
from app.kit.outbound.names import Resolver, SystemResolver
from app.kit.outbound.own import own_doors
from app.kit.outbound.pool import Dialer, SocketDialer

__all__ = [
    "Answer",
    "Category",
    "Dialer",
    "Fault",
    "Outbound",
    "Resolver",
    "SocketDialer",
    "SystemResolver",
    "Timings",
    "idle_connection_seconds",
    "own_doors",
    "response_bytes_max",
    "response_header_bytes_max",
    "response_headers_max",
]
