"""SQL as text, read once."""

from functools import lru_cache

from sqlalchemy import text

# Taking a dozen lines apart costs as much as sending them, so a statement is read once, however often it runs.
sql = lru_cache(maxsize=1024)(text)
