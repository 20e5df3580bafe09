"""What operations cost, and what was paid."""

from typing import Literal

from pydantic import Field

from tocsin.schemas.wire import Timestamp, Wire

__all__ = ["Payment", "PriceList", "PricedOperation"]


class PricedOperation(Wire):
    """What one call costs."""

    operation: str = Field(description="Method and path, such as `POST /v1/schedules`.")
    price: str = Field(description="US dollars, such as `$0.001`.")


class PriceList(Wire):
    """What costs something. Whatever is not listed is free."""

    items: list[PricedOperation]
    network: str | None = Field(
        default=None, description="The chain that payments settle on (CAIP-2); null: all is free."
    )
    pay_to: str | None = Field(default=None, description="The address that is paid.")


class Payment(Wire):
    """A payment that you presented, and what became of it."""

    id: str
    state: Literal["reserved", "settling", "unknown", "settled", "refused", "done"] = Field(
        description="`unknown`: repeat the request with the same payment. `settled`: paid, and the request "
        "is still to be performed; repeat it. `refused`: no money moved. `done`: paid and performed."
    )
    operation: str
    amount: str = Field(description="US dollars, such as `0.001000`.")
    network: str
    asset: str
    payer: str
    pay_to: str
    transaction: str | None = Field(
        default=None, description="The transaction that moved the money, as far as it is known."
    )
    code: str | None = Field(default=None, description="Why it was refused, or why its outcome is not known.")
    created_at: Timestamp
    settled_at: Timestamp | None = None
    done_at: Timestamp | None = None
