"""The server's database: SQLAlchemy models, queries by resource, and the migrations that make the tables.

SQLite with WAL is the default; nothing here is SQLite's alone but the pragmas in `engine`.
"""

from ota_server.store.engine import Store, migrate, take_turns
from ota_server.store.models import now_ms

__all__ = ["Store", "migrate", "now_ms", "take_turns"]
