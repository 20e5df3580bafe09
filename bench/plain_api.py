"""The plain way to take a message: Starlette, one insert and a commit. No signature, no recipients, nothing kept twice.

`python -m bench.plain_api POSTGRES_URL PORT`
"""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import uvicorn
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route


def application(database_url: str) -> Starlette:
    """`POST /messages` stores its body, and `GET /healthz` answers."""
    engine = create_async_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    insert = text("insert into plain_messages (body) values (cast(:body as json)) returning id")

    async def publish(request: Request) -> JSONResponse:
        async with engine.begin() as db:
            id = (await db.execute(insert, {"body": (await request.body()).decode()})).scalar_one()
        return JSONResponse({"id": id})

    async def well(request: Request) -> JSONResponse:
        return JSONResponse({"status": "ok"})

    @asynccontextmanager
    async def with_a_table(app: Starlette) -> AsyncIterator[None]:
        async with engine.begin() as db:
            await db.execute(
                text("create table plain_messages (id bigint generated always as identity primary key, body json)")
            )
        yield
        await engine.dispose()

    routes = [Route("/messages", publish, methods=["POST"]), Route("/healthz", well)]
    return Starlette(routes=routes, lifespan=with_a_table)


if __name__ == "__main__":
    uvicorn.run(application(sys.argv[1]), port=int(sys.argv[2]), log_level="error")
