"""The payments table."""

from datetime import datetime
from typing import Any

from sqlalchemy.dialects.postgresql import JSONB
from sqlmodel import BigInteger, Column, DateTime, Field, Index, LargeBinary, SQLModel, text


class Payment(SQLModel, table=True):
    """One payment that was presented: the request it is bound to, where it stands, and the answer it bought.

    `due_at` is until when the process that settles it has it to itself, and `attempts` is its fencing token. `asked`
    says whether any facilitator may have seen it. `from_block` is the first block that can hold its settlement.
    """

    __tablename__ = "payments"  # pyright: ignore[reportAssignmentType]
    __table_args__ = (
        Index("payments_by_authorization", "network", "asset", "payer", "nonce", unique=True),
        Index("payments_by_agent", "agent_id", "id"),
        # One payment at a time for one idempotency key: a caller that pays again while its first payment is on its way
        # would pay twice for one effect.
        Index(
            "payments_open_by_key",
            "agent_id",
            "idempotency_key",
            unique=True,
            postgresql_where=text("state not in ('refused', 'done')"),
        ),
    )

    id: str = Field(primary_key=True)
    agent_id: str = Field(foreign_key="agents.id")
    operation: str
    idempotency_key: str | None = None
    fingerprint: str
    network: str
    asset: str
    payer: str
    nonce: str
    pay_to: str
    amount: int = Field(sa_column=Column(BigInteger, nullable=False))
    valid_before: int = Field(sa_column=Column(BigInteger, nullable=False))
    from_block: int | None = Field(default=None, sa_column=Column(BigInteger))
    requirements: dict[str, Any] = Field(sa_column=Column(JSONB, nullable=False))
    state: str
    asked: bool = False
    attempts: int = 0
    due_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    transaction: str | None = None
    code: str | None = None
    receipt: str | None = None
    answer_status: int | None = None
    answer_headers: dict[str, str] | None = Field(default=None, sa_column=Column(JSONB(none_as_null=True)))
    answer_body: bytes | None = Field(default=None, sa_column=Column(LargeBinary))
    created_at: datetime = Field(sa_column=Column(DateTime(timezone=True), nullable=False))
    settled_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
    done_at: datetime | None = Field(default=None, sa_column=Column(DateTime(timezone=True)))
