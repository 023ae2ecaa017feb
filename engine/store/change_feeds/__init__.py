"""The change feeds: the items (change log) and the events that were written since the snapshot of a previous read."""
