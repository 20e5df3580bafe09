"""An operation with a price is paid for once, performed once, and answered the same however often it is asked."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager

import httpx
import pytest

from app.kit.operations import Operation
from app.main import assemble, opened_gate, routes
from app.services import Services
from app.settings import PaymentsSettings, Settings
from examples.devchain import DevChain, payments_chain_id
from examples.devchain.chain import anvil_process
from tests.paying import PAY_TO, Misbehaving, RunningClock, Till, decoded, facilitator_process, fill, misbehaving, sign_payment
from tests.world import ORIGIN, TestAgent
