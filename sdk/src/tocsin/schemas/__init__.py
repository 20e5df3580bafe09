"""The shapes on the wire: one module an area, shared by the relay and its clients.

Requests refuse unknown members; clients read answers with `extra="ignore"`, so that a newer relay may say more.
"""
