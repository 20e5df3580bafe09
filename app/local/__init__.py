"""A whole relay on one machine: embedded Postgres and Valkey, and the process tree around them."""
