"""Files in: CSV, Parquet and JSONL become events, items and users, all of a file or none of it."""

from engine.importing.events import import_events
from engine.importing.items import import_items
from engine.importing.summary import ImportSummary, Sample
from engine.importing.users import import_users

__all__ = ["ImportSummary", "Sample", "import_events", "import_items", "import_users"]
