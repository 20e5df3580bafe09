"""The relay's bounds in one place, unit last. Those that an agent must know too are in `tocsin.schemas`."""

# Requests
body_bytes_max = 256 * 1024
body_read_seconds = 15
head_bytes_max = 32 * 1024  # request line and headers
head_seconds = 10
unread_seconds = 30  # in which a reader takes some of an answer that waits for it
idempotency_key_chars_max = 255
idempotency_hours = 24

# Due work
drain_rounds_max = 1_000
sweep_seconds = 1.0
wake_expiry_seconds = 5
wake_poll_seconds = 0.015
rings_apart_seconds = 0.02  # of one process for one feature; the first of them goes at once
last_conclusions_seconds = 5.0  # for which a worker that ends waits for a database that is away
conclude_again_seconds = 0.25  # how far apart it tries meanwhile
last_rings_seconds = 1.0  # in which a process that ends rings what it has not rung yet

# Database
database_connections_default = 8
database_connect_seconds = 5
database_wait_seconds = 10  # for a connection of the pool to become free
database_idle_seconds = 1.0  # after which a connection is asked whether it is still there
database_silence_seconds = 30  # until a server that acknowledges nothing is taken for gone

# Watchers
rpc_timeout_seconds = 8  # a call; two of them fit into a look
rpc_answer_bytes_max = 64 * 1024 * 1024
rpc_small_answer_bytes_max = 4 * 1024 * 1024  # of larger ones, the providers of a chain give one at a time
rpc_look_bytes_max = 128 * 1024 * 1024  # of one provider's answers, in one look
rpc_error_chars_max = 1_000  # of the text of an error, that are read
rpc_calls_at_once = 8
rpc_batch_calls_max = 32  # in one request
providers_per_chain_max = 8
provider_again_seconds_max = 3600  # that a provider may ask to be left alone
provider_behind_seconds_max = 15  # the newest head of all, before others are asked first
provider_survey_seconds = 15  # between looks at the heads of all providers
provider_witnesses_max = 3  # of the other providers, where a second one has to say what it sees
chain_span_blocks_max = 64  # applied in one look; also the catch-up after an outage, a stretch at a time
chain_ring_blocks_max = 256  # at least, unless the operator says so; a fork older than this halts the chain
chain_ring_blocks_longest = 4_096
chain_blocks_until_demanded = 64  # with transactions, in a row, before a chain is held to what they have shown
chain_doubts_max = 3  # looks in a row before a head that went back is believed
chain_report_seconds = 10  # between looks at whether a chain is halted, whoever found it so
chain_again_seconds_max = 30  # between looks at a chain that fails or is halted
calls_per_agent_max = 20  # different calls of contracts, each made at every block
calls_per_chain_default = 200  # of all agents, at every block: as many as a node answers in time
calls_per_chain_max = 10_000
call_answer_bytes_max = 16 * 1024
call_timeout_seconds = 2  # one of them
calls_seconds_max = 5  # all that one look makes
head_message_bytes_max = 1024 * 1024
final_silent_seconds_max = 3_600  # in which no provider names a final block, before blocks are counted instead
heads_silent_seconds_max = 120  # without a new head, before the socket that should announce it is opened anew
heads_again_seconds_max = 60  # between attempts to open one
heads_pause_seconds = 0.25  # between looks that announcements cause
document_bytes_max = 256 * 1024
validator_chars_max = 1_024  # an ETag or a Last-Modified
selected_chars_max = 16 * 1024
appeared_items_max = 1_000  # of a list, from its beginning, that are looked at
appeared_known_max = 2_000  # keys of items that a filter remembers, those of the list included
appeared_told_max = 50  # of one look; the others wait for the next
feed_bytes_max = 1024 * 1024
feed_elements_max = 40_000
feed_depth_max = 64
feed_namespace_chars_max = 1_000
feed_items_max = 500  # from the beginning of the feed
feed_known_max = 1_500  # items that a filter remembers, those of the feed included
feed_told_max = 50  # of one look
feed_title_chars_max = 500
feed_summary_chars_max = 1_000
redirects_max = 3
retry_after_seconds_max = 3_600  # that a site may ask us to wait
poll_timeout_seconds = 15
look_timeout_seconds = 20
look_turn_seconds = 0.1
look_lease_seconds = 30
looks_at_once_max = 32  # of one kind: those at slow sites take no place from chains
judging_seconds_max = 5  # that all filters of a document take together; those that are left wait for the next look
document_filters_max = 100  # of one agent at one document
host_requests_per_second_max = 5  # that the documents of one agent at one host come to
look_again_seconds_max = 600  # between looks at a source that fails

backfill_start_blocks = 2_000  # asked for at once; then as many as the node gives
backfill_hits_max = 20  # blocks with something to tell that are read in one step
backfill_depth_blocks = 64  # below the head, where the node does not say what is final
backfill_lease_seconds = 60
backfill_wait_seconds = 5  # until more may be final
backfills_per_agent_max = 20  # subscriptions of one agent that catch up at a time

# Proofs of events: blocks that are read whole, and kept for whoever asks for another event of theirs
proof_timeout_seconds = 20
proofs_per_agent_at_once = 8  # at one process
proof_blocks_at_once = 2  # that one process reads
proofs_made_at_once = 1  # of blocks that were read, beside all else that a process does
proof_waiting_max = 50
proof_calls_at_once_max = 600  # to the providers of one chain, by one process, after a pause
proof_calls_per_second = 10  # and then
proof_calls_per_agent_at_once_max = 240
proof_calls_per_agent_per_second = 2
proof_receipts_max = 1_000  # of a block, that are asked for one by one where a provider has none of whole blocks
proof_blocks_kept_bytes_max = 16 * 1024 * 1024

# Endpoints
cancelled_at_once_max = 1_000  # deliveries, in the request that deletes their endpoint; workers see to the rest
standing_sweep_seconds = 10  # between looks at what is due and held
standing_counted_max = 100_000
endpoints_per_agent_max = 1_000
endpoints_told_max = 10  # of an agent, that another of its endpoints is disabled
challenges_per_host_max = 20  # that one process begins within a second, whoever's endpoints are there
challenge_deferred_seconds = 5  # when there are more
mcp_secret_overlap_seconds = 600  # in which both sign, after a refresh brought another
secrets_alive_max = 5  # of one endpoint, while one replaces another
secrets_opened_max = 4_096  # endpoints whose secrets one process keeps opened in memory
seal_batch_max = 500

# The relay's own key: how old a process's view of it may be, how long receivers may keep what is published, and how
# many may sign at a time.
relay_key_read_seconds = 5
relay_key_cached_seconds = 300
relay_keys_max = 4
endpoints_expired_batch_max = 500

# Messages: deliveries of one request to publish, and endpoints that it may have to look at for them.
publish_deliveries_max = 1_000
publish_candidates_max = 5_000
publish_filters_cached_max = 4_096
publish_filter_steps_max = 250_000  # of all filters, at all messages of one request: nobody else is answered meanwhile

# Deliveries, once they are written down
partition_lock_milliseconds = 250  # that a change of partitions waits, and all who come after it
retention_sweep_seconds = 600
expire_batch_max = 500
listed_rows_max = 10_000  # that are looked at for one page
counted_rows_max = 50_000  # that are looked at for an endpoint's statistics
attempts_shown_max = 100  # the latest, of one delivery
recoveries_running_max = 5  # of one agent
recovery_deliveries_max = 100_000
recovery_batch_max = 500
recovery_looked_max = 500_000  # deliveries that are looked at to find those

# Subscriptions
subscriptions_per_agent_max = 10_000
feeds_at_once_max = 32  # that one transaction feeds
feeding_events_max = 50  # events that one of them tells in it
feed_deliveries_max = 1_000  # that it makes: who watches waits for it
feed_batch_bytes_max = 64 * 1024  # of payloads in one entry; a single one may have more
feeding_bytes_max = 1024 * 1024  # of what one feed says or sends in one transaction; a single event may have more
feed_page_bytes_max = 1024 * 1024  # of entries that are read at once; a single one may have more
forget_batch_max = 1_000  # entries, sightings and feeds that are dropped at once
hearers_shown_max = 20  # of the agent's other subscriptions that were told an event, with its proof
events_tail_seconds = 0.25
streams_per_agent_max = 100  # open at one process, with requests that wait
stream_page_max = 100  # entries that are read at once
stream_comment_seconds = 15  # between signs of life
stream_comments_max = 4  # until it is looked whether the subscription is still there
stream_seconds_max = 3_600  # after which its reader connects again

# Inboxes
inbox_body_bytes_max = 128 * 1024
inbox_events_per_second = 50
inbox_event_bytes = 4 * 1024  # a larger one counts as several
inboxes_per_agent_max = 100
inbox_event_bytes_more = 1024  # that each webhook counts for beside its body, of what an agent's inboxes take in a day
inbox_ids_days = 7  # for which a sender's own id is remembered
inbox_bodies_seconds = 600  # in which an equal body is a repetition, where its sender gives no id
inbox_forgotten_batch = 20  # that are too old, with each that is new
inbox_header_chars_max = 500

# Schedules: how far ahead slots are planned, and how long a planned fire is left to the worker that holds it.
plan_ahead_seconds = 3.0
plan_soon_seconds = 2.0
plan_batch_max = 250
plan_slots_max = 16
fire_batch_max = 400
fires_apart_seconds = 0.005
fire_lease_seconds = 5.0
fire_takeovers_max = 20
fires_held_max = 20_000
missed_grace_seconds = 10.0  # a slot that is planned later than this was missed: a busy planner is no outage
missed_rows_max = 100  # slots that passed in one go and get a row of their own
plan_missed_batch_max = 50  # schedules, after an outage: each may have that many rows
catch_up_fires_default = 100
catch_up_slots_max = 100  # of one schedule in one round
catch_up_seconds = 0.25  # between two rounds of late fires, each of
catch_up_batch_max = 50
overdue_seconds = 0.25  # while a live fire is later than this, no late one is taken
clock_look_seconds = 0.1  # a look at the database's clock that is older is not relied on by a sweep
buffer_fires_default = 100
completion_seconds_default = 86_400
recompute_batch_max = 200
recompute_sweep_seconds = 60
check_sweep_seconds = 10
check_overdue_seconds = 15  # a slot that is not in the journal by then says that the planners do not keep up
check_counted_max = 10_000
check_named_max = 5
schedule_past_seconds = 60  # an instant that lies no further back fires at once
schedule_writers_max = 500  # schedules of one agent that may be in the middle of being added
put_tries_max = 3
skips_ahead_max = 100  # slots to come that are skipped in advance
backfill_days_max = 3_660
upcoming_fires_max = 5

# Payments: how long a settlement may take, how long it is left to the process that asked for it (longer, by all that
# can follow), how long another request waits for that, and how long a payment that we ask for is valid.
settle_seconds = 20
payment_lease_seconds = 45
payment_wait_seconds = 12
payment_poll_seconds = 0.05
payment_retry_seconds = 2
payment_validity_seconds = 300
facilitator_retry_seconds = 1
facilitator_supported_seconds = 5
