"""The report of an import: rejected rows with reasons, the summary, the kinds of events, and rows of erased users."""
