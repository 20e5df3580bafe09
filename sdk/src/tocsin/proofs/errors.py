"""What is wrong with a proof, or with what it should be made of.

ProofError
├── Malformed           not in the form that this page or the chain's protocol describes
├── Unprovable          a node's own answers do not add up to its header: there is nothing to prove with them
└── Refuted             well-formed, but it does not prove what it should
    ├── WrongBlock          another block or chain than the one you trust
    ├── WrongPath           the nodes do not lead from the header's root to anything
    ├── WrongTransaction    another transaction than the one that is named
    ├── WrongLog            the receipt has no such log
    └── WrongEvent          the event does not say what the log says
"""

__all__ = [
    "Malformed",
    "ProofError",
    "Refuted",
    "Unprovable",
    "WrongBlock",
    "WrongEvent",
    "WrongLog",
    "WrongPath",
    "WrongTransaction",
]


class ProofError(ValueError):
    """Nothing is proven."""

    def __init__(self, part: str, reason: str) -> None:
        super().__init__(f"{part}: {reason}. {type(self).__doc__}")
        self.part = part
        """Which part is wrong, such as `receipt.path[2]`."""
        self.reason = reason


class Malformed(ProofError):
    """This is not in the form that its format prescribes: fetch it again, unchanged, or from somebody else."""


class Unprovable(ProofError):
    """The node contradicts itself, or its chain computes this in a way that we do not know: ask another node."""


class Refuted(ProofError):
    """This does not prove what it should: do not act on it."""


class WrongBlock(Refuted):
    """Check which chain and block hash you trust, and where you have them from. If they are right, this is no proof."""


class WrongPath(Refuted):
    """What it leads to is not in this block. Fetch the proof again; if it stays so, do not believe who made it."""


class WrongTransaction(Refuted):
    """At this place the block has another transaction. Do not believe who made the proof."""


class WrongLog(Refuted):
    """This is not among the logs of the transaction. Do not believe who made the proof."""


class WrongEvent(Refuted):
    """What you were told is not what happened, or this is the proof of another event: compare their ids."""
