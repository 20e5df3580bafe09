"""Settings are environment variables `TOCSIN_…`, read once, frozen, and passed down by value.

`TOCSIN_DATABASE_URL` is `settings.database.url`: the first word names the part, the rest its field. Defaults run
locally with no variable set.
"""

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Annotated, Literal, Self, cast
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, InstanceOf, field_validator, model_validator
from pydantic.functional_validators import AfterValidator, BeforeValidator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.kit import limits, tracing
from app.kit.addresses import networks
from app.kit.sealing import Keyring, SecretKey
from app.kit.telemetry import AttemptLog, LogFormat


def _words(value: object) -> object:
    """`a, b` as ("a", "b")."""
    return tuple(word.strip() for word in value.split(",") if word.strip()) if isinstance(value, str) else value


def _key(value: object) -> object:
    return SecretKey.parse(value) if isinstance(value, str) else value


def _keys(value: object) -> object:
    words = _words(value)
    return tuple(map(_key, cast(tuple[object, ...], words))) if isinstance(words, tuple) else words


Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]


class Part(BaseModel):
    """A group of settings that belong to one part of the house."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class DatabaseSettings(Part):
    url: str | None = Field(default=None, description="Postgres, as postgresql://…; unset: `tocsin up` starts one.")
    connections: int = Field(
        default=limits.database_connections_default,
        ge=2,
        le=200,
        description="Connections that each process opens at most.",
    )
    prepared_statements: bool = Field(
        default=True,
        description="Have Postgres plan each statement once a connection. Off for a pooler in transaction mode that "
        "does not carry prepared statements over (PgBouncer does since 1.21).",
    )


class ValkeySettings(Part):
    url: str | None = Field(default=None, description="Valkey, as redis://…; unset: `tocsin up` starts one.")


class ApiSettings(Part):
    host: str = Field(default="127.0.0.1", description="Address that the API listens on.")
    port: int = Field(default=8585, ge=0, le=65535, description="Port that the API listens on.")
    authorities: Words = Field(
        default=(),
        description="Hosts (with port, unless it is the scheme's default) that signed requests may name, by comma. "
        "Unset: the address listened on, and localhost with its port.",
    )
    public_url: str | None = Field(
        default=None, description="Where agents reach this relay, such as https://relay.example."
    )

    @property
    def origin(self) -> str:
        """The relay's public URL, without a final slash."""
        return (self.public_url or f"http://{self._listened_on}").rstrip("/")

    @property
    def _listened_on(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def accepted_authorities(self) -> frozenset[str]:
        """What `@authority` may be in a signed request, in lower case."""
        local = (self._listened_on, f"localhost:{self.port}", f"127.0.0.1:{self.port}")
        public = (self.origin.partition("://")[2],)
        return frozenset(authority.lower() for authority in (self.authorities or (*local, *public)))


class SecretSettings(Part):
    key: Annotated[InstanceOf[SecretKey] | None, NoDecode, BeforeValidator(_key)] = Field(
        default=None,
        description="Seals secrets in the database; `tocsin new-secret-key` makes one. Unset: `tocsin up` makes one, "
        "and keeps it in TOCSIN_HOME/secret-key.",
    )
    keys_before: Annotated[tuple[InstanceOf[SecretKey], ...], NoDecode, BeforeValidator(_keys)] = Field(
        default=(),
        description="Keys that open what they sealed and seal nothing more, by comma: while one replaces another.",
    )

    @property
    def keyring(self) -> Keyring:
        """The keys of this process."""
        assert self.key is not None, "TOCSIN_SECRET_KEY must be set; `tocsin up` sets it"
        return Keyring(self.key, self.keys_before)


class OutboundSettings(Part):
    allow: Words = Field(
        default=(),
        description="Private networks that deliveries and polls may reach, as CIDR by comma: 127.0.0.0/8,::1/128.",
    )

    @field_validator("allow")
    @classmethod
    def _are_networks(cls, allow: tuple[str, ...]) -> tuple[str, ...]:
        networks(allow)
        return allow


class DeliverySettings(Part):
    connections: int = Field(
        default=128, ge=1, le=1_000, description="Deliveries that one worker has in flight at most."
    )
    host_connections: int = Field(
        default=64,
        ge=1,
        le=1_000,
        description="Of these, how many at most to one host and port, whoever's endpoints are there.",
    )
    disable_after_days: float = Field(
        default=5, gt=0, le=365, description="An endpoint is disabled after so many days of nothing but failure."
    )
    timeout_seconds: float = Field(
        default=15, gt=0, le=30, description="Bound on one attempt: look-up, connect, TLS, body."
    )
    lease_seconds: float = Field(
        default=60, gt=0, le=600, description="How long a claimed delivery is left to its worker."
    )


class RetentionSettings(Part):
    days: int = Field(
        default=30,
        ge=7,
        le=3_650,
        description="How long messages, deliveries and attempts are kept, at least, and a week longer at most; "
        "and how long what subscriptions were told can be read.",
    )


class ScheduleSettings(Part):
    per_agent_max: int = Field(default=10_000, ge=1, le=10_000_000, description="Schedules that one agent may have.")


class WorkerSettings(Part):
    metrics_host: str = Field(default="127.0.0.1", description="Address that the worker's /metrics listens on.")
    metrics_port: int | None = Field(
        default=None, ge=1, le=65535, description="Port for the worker's /metrics; unset: none."
    )


class IdentitySettings(Part):
    registration: Literal["open", "allowlist"] = Field(default="open", description="Who may register an agent.")
    allowlist: Words = Field(
        default=(), description="Key thumbprints that may register when registration is `allowlist`."
    )


def _provider(value: object) -> object:
    return {"url": value} if isinstance(value, str) else value


def _providers(value: object) -> object:
    return (value,) if isinstance(value, str | Mapping) else value  # pyright: ignore[reportUnknownVariableType]


def _network(name: str) -> str:
    if re.fullmatch(r"eip155:[1-9][0-9]{0,17}", name) is None:
        raise ValueError("a chain is eip155: and its number, such as eip155:8453")
    return name


def _chain(value: object) -> object:
    """A chain as its providers alone: one URL, or several."""
    return {"rpc_url": value} if isinstance(value, str | list) else value  # pyright: ignore[reportUnknownVariableType]


class ProviderSettings(Part):
    """One provider of a chain, and what it is called where agents see it."""

    url: str
    label: str | None = Field(default=None, min_length=1, max_length=40)
    ws_url: str | None = Field(default=None, pattern="^wss?://")

    @property
    def name(self) -> str:
        """The label, else the host: never the rest of the URL, which commonly holds a key."""
        return self.label or urlsplit(self.url).hostname or "unnamed"


class ChainSettings(Part):
    """How one chain is followed: docs/operating/chains.md describes each of these."""

    rpc_url: Annotated[
        tuple[Annotated[ProviderSettings, BeforeValidator(_provider)], ...], BeforeValidator(_providers)
    ] = Field(min_length=1, max_length=limits.providers_per_chain_max)
    poll_seconds: float = Field(default=1.0, ge=0.05, le=600)
    timeout_seconds: float = Field(default=limits.rpc_timeout_seconds, gt=0, le=limits.rpc_timeout_seconds)
    finality: Literal["tags", "depth"] = "tags"
    finality_depth: int | None = Field(default=None, ge=0, le=limits.chain_ring_blocks_longest)
    ring_blocks: int | None = Field(default=None, ge=16, le=limits.chain_ring_blocks_longest)
    agreement: bool = False
    calls_max: int = Field(default=limits.calls_per_chain_default, ge=0, le=limits.calls_per_chain_max)
    verified: Literal["receipts-root", "bloom", "rpc"] | None = None

    @model_validator(mode="after")
    def _can_agree(self) -> Self:
        if self.agreement and len(self.rpc_url) < 2:
            raise ValueError("agreement needs two providers")
        names = self.names
        if len(set(names)) < len(names):
            raise ValueError("two providers have one name: give them a label each")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """What the providers are called."""
        return tuple(each.name for each in self.rpc_url)


class WatchingSettings(Part):
    backfill_blocks_max: int = Field(
        default=100_000, ge=0, le=100_000_000, description="How many blocks back a subscription may begin."
    )
    inbox_bytes_per_day_max: int = Field(
        default=256 * 1024 * 1024,
        ge=limits.inbox_body_bytes_max,
        le=1 << 40,
        description="Bytes of webhooks that the inboxes of one agent take in a day; they are kept as long as events.",
    )


class PaymentsSettings(Part):
    pay_to: str | None = Field(default=None, description="Address that is paid.")
    network: str = Field(default="eip155:84532", description="CAIP-2 id of the chain that payments settle on.")
    facilitator: str | None = Field(default=None, description="URL of the x402 facilitator; there is no default.")
    rpc_url: str | None = Field(
        default=None, description="JSON-RPC endpoint used to look up a settlement of unknown outcome."
    )


class LogSettings(Part):
    format: LogFormat = Field(default="text", description="text for people, json for machines.")
    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is printed."
    )
    attempts: AttemptLog = Field(
        default="all", description="Which attempts to deliver get a line, at the level info: one each."
    )


class TelemetrySettings(Part):
    traces: str | None = Field(
        default=None,
        description="The exporter of OpenTelemetry traces, such as otlp_proto_http; it and the SDK have to be "
        "installed, and are set up by the variables OTEL_*. Unset: no traces.",
    )


class Settings(BaseSettings):
    """All of it. Built in the entry points, never imported as an instance."""

    model_config = SettingsConfigDict(
        env_prefix="TOCSIN_",
        env_nested_delimiter="_",
        env_nested_max_split=1,
        frozen=True,
        extra="ignore",
        # Wherever an error is shown: a key, or a URL with its password, is not shown with it.
        hide_input_in_errors=True,
    )

    home: Path = Field(default=Path(".tocsin"), description="Where `tocsin up` keeps its data.")
    prices: dict[str, str] = Field(
        default_factory=dict[str, str],
        description='Price per operation as JSON, such as {"POST /v1/schedules": "$0.001"}. Unset: everything is free.',
    )
    chains: dict[Annotated[str, AfterValidator(_network)], Annotated[ChainSettings, BeforeValidator(_chain)]] = Field(
        default_factory=dict[str, ChainSettings],
        description='Chains to watch, as JSON: {"eip155:8453": "https://…"}, a list of URLs for several providers, or '
        'with settings of its own: {"eip155:8453": {"rpc_url": ["https://…", "https://…"], "poll_seconds": 1}}. '
        "docs/operating/chains.md lists them.",
    )
    database: DatabaseSettings = DatabaseSettings()
    valkey: ValkeySettings = ValkeySettings()
    secret: SecretSettings = SecretSettings()
    api: ApiSettings = ApiSettings()
    outbound: OutboundSettings = OutboundSettings()
    delivery: DeliverySettings = DeliverySettings()
    retention: RetentionSettings = RetentionSettings()
    schedules: ScheduleSettings = ScheduleSettings()
    watching: WatchingSettings = WatchingSettings()
    worker: WorkerSettings = WorkerSettings()
    identity: IdentitySettings = IdentitySettings()
    payments: PaymentsSettings = PaymentsSettings()
    log: LogSettings = LogSettings()
    telemetry: TelemetrySettings = TelemetrySettings()

    @model_validator(mode="after")
    def _is_spelt_right(self) -> Self:
        for name in sorted(os.environ):
            if name not in variables() and (meant := meant_by(name)):
                raise ValueError(f"{name} is no setting; is {meant} meant?")
        return self

    @model_validator(mode="after")
    def _can_be_paid(self) -> Self:
        for name in ("pay_to", "facilitator") if self.prices else ():
            if not getattr(self.payments, name):
                raise ValueError(f"TOCSIN_PRICES needs TOCSIN_PAYMENTS_{name.upper()}, too")
        return self


@cache
def variables() -> frozenset[str]:
    """Every variable that a setting is read from."""
    kinds = {name: info.annotation for name, info in Settings.model_fields.items()}
    parts = {name: kind for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, Part)}
    alone = [name for name in kinds if name not in parts]
    of_parts = [f"{name}_{member}" for name, part in parts.items() for member in part.model_fields]
    return frozenset(f"TOCSIN_{name.upper()}" for name in (*alone, *of_parts))


def meant_by(name: str) -> str | None:
    """The setting that somebody meant who wrote this; None if it is none, or not ours to judge: Kubernetes sets
    `TOCSIN_SERVICE_HOST` and the like where a service is called `tocsin`."""
    close = get_close_matches(name, variables(), n=1, cutoff=0.9) if name.startswith("TOCSIN") else ()
    return close[0] if close else None


def inherited(changes: Mapping[str, str]) -> dict[str, str]:
    """This process's environment with some variables changed: what a child process is given."""
    return {**os.environ, **changes}


def export_traces(settings: TelemetrySettings, name: str) -> None:
    """Export what this process does as `name`, if it is to. What the operator says in OTEL_* comes first."""
    if settings.traces:
        adopt("OTEL_SERVICE_NAME", name)
        tracing.configure(settings.traces)


def adopt(name: str, value: str) -> None:
    """Set a variable for this process and its children, unless the environment has set it."""
    os.environ.setdefault(name, value)
