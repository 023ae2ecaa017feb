"""Imports: a file becomes events, items, users, feature records or vectors, in one transaction: all rows or none."""

from engine.importing.catalogue_replacement import CatalogueReplacement
from engine.importing.cells.reading_options import ReadingOptions
from engine.importing.events import import_events
from engine.importing.features import import_features
from engine.importing.items import import_items
from engine.importing.records import Layout
from engine.importing.reports.summary import ImportSummary, RejectedSample
from engine.importing.users import import_users
from engine.importing.vectors import import_vectors

__all__ = [
    "CatalogueReplacement",
    "ImportSummary",
    "Layout",
    "ReadingOptions",
    "RejectedSample",
    "import_events",
    "import_features",
    "import_items",
    "import_users",
    "import_vectors",
]
