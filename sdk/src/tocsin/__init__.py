"""Tocsin: wakes sleeping agents with signed webhooks.

This package is what an agent needs to use a relay, and to check it: keys, signed requests, verified webhooks, problems.
"""

from tocsin.keys import PrivateKey, PublicKey
from tocsin.problems import Problem

__all__ = ["PrivateKey", "Problem", "PublicKey"]
