"""Every metric of the house. `docs/operating/metrics.md` is written from these."""

from prometheus_client import Counter, Gauge, Histogram

from app.kit.telemetry.distribution import Distribution

_fine = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)

requests = Counter("tocsin_requests", "Requests answered, by operation and status.", ["operation", "status"])
request_seconds = Histogram(
    "tocsin_request_seconds",
    "From the first byte of a request to its answer, by operation.",
    ["operation"],
    buckets=_fine,
)
fire_lateness_seconds = Histogram(
    "tocsin_fire_lateness_seconds",
    "From the time of a fire, its slot's and its share of jitter, until it was handed over, committed.",
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600),
)
fires_skipped = Counter("tocsin_fires_skipped", "Entries of journals that do not fire, by reason.", ["reason"])
fires_given_up = Counter("tocsin_fires_given_up", "Fires whose delivery, or hand-over, was given up.")
schedules_overdue = Gauge(
    "tocsin_schedules_overdue", "Schedules with a slot that has passed and is not in the journal; should be 0."
)
wakes_lost = Counter("tocsin_wakes_lost", "Wakes that did not reach Valkey; the sweep found the work.", ["feature"])
database_errors = Counter(
    "tocsin_database_errors",
    "Transactions that failed for the database's sake: it is `away`, `full`, has no connection free (`busy`), or broke "
    "off two that collide (`conflict`).",
    ["kind"],
)
for _kind in ("away", "full", "busy", "conflict"):
    database_errors.labels(_kind)  # at 0 from the start: a rise from nothing is none that Prometheus sees

# Deliveries: each worker's own

attempts = Counter(
    "tocsin_attempts",
    "Attempts to deliver, by what became of the delivery (delivered, retried, failed) and by cause: the class of the "
    "status, such as 5xx, or the category of the error.",
    ["outcome", "cause"],
)
challenges = Counter(
    "tocsin_challenges",
    "Endpoints asked whether they want to be rung, by what became of it (verified, again, unverified, disabled; of the "
    "word that a subscription is over: told, again, untold) and by cause: the class of the status, such as 5xx, or the "
    "category of the error.",
    ["outcome", "cause"],
)
attempt_lag_seconds = Distribution(
    "tocsin_attempt_lag_seconds",
    "From the moment when a delivery was due until its attempt began.",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800),
)
attempt_seconds = Distribution(
    "tocsin_attempt_seconds",
    "How long attempts took: look-up, connection, TLS and the whole answer.",
    (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 15, 30),
)
deliveries_in_flight = Gauge("tocsin_deliveries_in_flight", "Attempts of this worker that are under way.")
deliveries_waiting = Gauge("tocsin_deliveries_waiting", "Deliveries that this worker holds and has no place free for.")
endpoint_failures = Gauge(
    "tocsin_endpoint_failures",
    "Failed attempts of this worker in the last 5 minutes, of the 20 endpoints that have most.",
    ["endpoint"],
)
round_seconds = Histogram(
    "tocsin_round_seconds",
    "How long a round took that concludes and claims deliveries: one transaction.",
    buckets=_fine,
)
round_attempts = Histogram(
    "tocsin_round_attempts",
    "How many attempts a round concluded together, of those that concluded any.",
    buckets=(1, 2, 5, 10, 25, 50, 100, 250, 500, 1000),
)

# Deliveries: of the whole relay, as every worker sees it every 10 seconds

deliveries_oldest_due_seconds = Gauge(
    "tocsin_deliveries_oldest_due_seconds", "For how long the delivery has been due that has been so for longest."
)
deliveries_due = Gauge("tocsin_deliveries_due", "Deliveries that are due and not under way; counted up to 100,000.")
deliveries_held = Gauge(
    "tocsin_deliveries_held",
    "Deliveries that wait for their endpoint's lane, or for an earlier one of their order; counted up to 100,000.",
    ["hold"],
)
breakers = Gauge("tocsin_breakers", "Active endpoints whose breaker is not closed, by its state.", ["state"])
endpoints = Gauge("tocsin_endpoints", "Endpoints, by state.", ["state"])
looked_timestamp_seconds = Gauge(
    "tocsin_looked_timestamp_seconds", "When this worker last looked at all this, in Unix seconds."
)

# Chains, as the worker sees them that looked

chain_halted = Gauge(
    "tocsin_chain_halted", "1 while a chain is halted: an operator has to look at its providers.", ["chain"]
)
chain_height = Gauge("tocsin_chain_height", "Number of the newest block that was read.", ["chain"])
chain_timestamp_seconds = Gauge(
    "tocsin_chain_timestamp_seconds",
    "When the newest block was made that was read, in Unix seconds, as it says.",
    ["chain"],
)
chain_final_height = Gauge("tocsin_chain_final_height", "Number of the newest block that is final.", ["chain"])
conditions_unknown = Counter(
    "tocsin_conditions_unknown",
    "Conditions that an event did not answer, and that so were not met; by chain, or by kind of source.",
    ["source"],
)
rpc_calls = Counter("tocsin_rpc_calls", "JSON-RPC calls made, by chain and method.", ["chain", "method"])
provider_up = Gauge(
    "tocsin_provider_up", "1 while a provider of a chain answers, 0 while it is left alone.", ["chain", "provider"]
)
provider_failures = Counter(
    "tocsin_provider_failures", "Looks in which a provider failed, by what was wrong.", ["chain", "provider", "cause"]
)
provider_behind_seconds = Gauge(
    "tocsin_provider_behind_seconds",
    "How old a provider's head is beside the newest of all, by the blocks' own times.",
    ["chain", "provider"],
)
provider_call_seconds = Gauge(
    "tocsin_provider_call_seconds", "What a call to a provider takes, on a moving average.", ["chain", "provider"]
)
provider_socket = Gauge(
    "tocsin_provider_socket", "1 while a provider announces new heads over a WebSocket.", ["chain", "provider"]
)
