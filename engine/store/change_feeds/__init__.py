"""What changed since a snapshot: items in the change log, and events."""
