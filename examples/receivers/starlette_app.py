"""A receiver as a Starlette application, with the SDK: `pip install tocsin starlette uvicorn`.

RING_SECRET=whsec_… uvicorn examples.receivers.starlette_app:app --port 9000
"""

import json
import os
from datetime import UTC, datetime

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tocsin import webhooks

SECRETS = os.environ["RING_SECRET"].split(",")

# In a real receiver this is a table with a unique column: it has to outlive the process.
seen: set[str] = set()


async def take(request: Request) -> Response:
    # The bytes as they arrived: JSON that is parsed and written again has other bytes.
    body = await request.body()
    try:
        ring = webhooks.verify(body, request.headers, secret=SECRETS, now=datetime.now(UTC))
    except webhooks.WebhookError as refusal:
        return Response(str(refusal), status_code=400)
    if (answer := webhooks.challenge_answer(ring)) is not None:
        return Response(answer, media_type="application/json")
    if ring.id not in seen:
        seen.add(ring.id)
        print(ring.type, json.dumps(ring.data), flush=True)
    return Response(status_code=204)


app = Starlette(routes=[Route("/", take, methods=["POST"])])
