"""The operations of identity."""

from app.identity.service import Identity
from app.kit.operations import Call, Operation
from tocsin.problems import AlreadyRegistered, InvalidKey, InvalidSignature, RegistrationClosed, ReplayedNonce
from tocsin.schemas.agents import Agent, NewAgent, RevokeKey, RotateKey


async def register_agent(call: Call[Identity], body: NewAgent) -> Agent:
    """Register an agent.

    The request is signed by the very key that it registers.
    """
    return await call.service.register(call.db, call.incoming, body, call.now)


async def get_me(call: Call[Identity]) -> Agent:
    """Show the agent that signed this request."""
    return await call.service.me(call.db, call.agent)


async def rotate_key(call: Call[Identity], body: RotateKey) -> Agent:
    """Replace your key by a new one.

    The present key signs the request, the new one the proof inside: each consents.
    """
    return await call.service.rotate(call.db, call.agent, body, call.now)


async def revoke_key(call: Call[Identity], body: RevokeKey) -> Agent:
    """Revoke your key for good.

    Nobody can sign for this agent any more, and its endpoints are rung no more.
    """
    call.ring("housekeeping")
    return await call.service.revoke(call.db, call.agent, body, call.now)


OPERATIONS = (
    Operation(
        "POST",
        "/v1/agents",
        register_agent,
        status=201,
        signed=False,
        problems=(InvalidSignature, ReplayedNonce, InvalidKey, RegistrationClosed, AlreadyRegistered),
    ),
    Operation("GET", "/v1/agents/me", get_me),
    Operation("POST", "/v1/agents/me/rotate", rotate_key, problems=(InvalidKey, AlreadyRegistered)),
    Operation("POST", "/v1/agents/me/revoke", revoke_key),
)
