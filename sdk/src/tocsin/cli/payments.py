"""What costs something, and what you paid."""

from tocsin.cli import show
from tocsin.cli.session import AsJson, client


def prices(as_json: AsJson = False) -> None:
    """List what costs something at this relay; whatever is not listed is free."""
    with client() as relay:
        listed = relay.payments.prices()
        show.table(listed.items, ("operation", "price"), as_json, "Everything is free.")
        if listed.network and not as_json:
            show.hint(f"Paid on {listed.network} to {listed.pay_to}")


def payments(as_json: AsJson = False) -> None:
    """List your payments, newest first."""
    with client() as relay:
        columns = ("id", "state", "operation", "amount", "transaction", "created_at")
        show.table(relay.payments.list(), columns, as_json, "No payments.")
