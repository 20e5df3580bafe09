"""What strangers are shown says what costs something."""

import httpx

from app.main import assemble, routes
from app.services import Services
from app.settings import PaymentsSettings
from tests.paying import PAY_TO
from tests.world import ORIGIN


async def test_the_openapi_document_shows_prices_and_how_they_are_asked_for(services: Services) -> None:
    terms = PaymentsSettings(pay_to=PAY_TO, facilitator="https://facilitator.example")
    settings = services.settings.model_copy(update={"prices": {"POST /v1/schedules": "$0.001"}, "payments": terms})
    selling = Services(**{**vars(services), "settings": settings})
    async with httpx.AsyncClient(transport=httpx.ASGITransport(assemble(routes(selling))), base_url=ORIGIN) as http:
        paths = (await http.get("/openapi.json")).json()["paths"]
    operation = paths["/v1/schedules"]["post"]
    assert operation["x-price"] == "$0.001"
    assert {"402", "409", "503"} <= set(operation["responses"])
    assert "PAYMENT-SIGNATURE" in {parameter["name"] for parameter in operation["parameters"]}
    assert "402" not in paths["/v1/endpoints"]["post"]["responses"]


async def test_everything_is_free_by_default(http: httpx.AsyncClient) -> None:
    assert (await http.get("/v1/prices")).json() == {"items": [], "network": None, "pay_to": None}
