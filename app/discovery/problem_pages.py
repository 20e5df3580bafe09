"""`/problems/<slug>`: what a problem means and what to do next, where its `type` points."""

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from tocsin.problems import ALL


async def show(request: Request) -> Response:
    """The page of one kind of problem."""
    kind = ALL.get(request.path_params["slug"])
    if kind is None:
        raise HTTPException(404)
    return PlainTextResponse(
        f"{kind.title} ({kind.status})\n\n{kind.advice()}\n", headers={"cache-control": "public, max-age=3600"}
    )
