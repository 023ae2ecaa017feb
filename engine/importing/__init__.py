"""Files in: they become events, items, users, feature records or vectors, all of a file or none of it."""

from engine.importing.catalogue_replacement import Replacing
from engine.importing.cells.reading_options import Reading
from engine.importing.events import import_events
from engine.importing.features import import_features
from engine.importing.items import import_items
from engine.importing.records import Layout
from engine.importing.reports.summary import ImportSummary, Sample
from engine.importing.users import import_users
from engine.importing.vectors import import_vectors

__all__ = [
    "ImportSummary",
    "Layout",
    "Reading",
    "Replacing",
    "Sample",
    "import_events",
    "import_features",
    "import_items",
    "import_users",
    "import_vectors",
]
