"""The presets of a space in the live view: read again when they change, and never in the way of serving."""

from engine.store import spaces
from engine.store.shelves import presets
from indexing.refresh.live_space import LiveSpace

CHEAP = {"of": "items", "filter": {"price": {"lt": 10}}}


def put(database, space, kind, name, body):
    with database.begin() as conn:
        spaces.lock(conn, space.key)
        presets.put(conn, space.key, kind, name, body, "local")


def test_a_changed_preset_shows_at_the_next_read_of_changes(database, space, tmp_path):
    live = LiveSpace(database, tmp_path, space.name)
    before = live.current().presets
    assert (before.version, dict(before.segments.items)) == (0, {})
    put(database, space, "segment", "cheap", CHEAP)
    put(database, space, "rule", "r", {"priority": 1})
    found = live.catch_up().presets
    assert (found.version, dict(found.segments.items)) == (2, {"cheap": CHEAP["filter"]})
    assert {name: each.body for name, each in found.rules.items()} == {"r": {"priority": 1}}
    assert live.catch_up().presets is found  # read only when the version changes
    put(database, space, "segment", "cheap", None)
    assert dict(live.catch_up().presets.segments.items) == {}


def test_a_document_that_cannot_be_parsed_is_left_out_and_reported(database, space, tmp_path, capfd):
    put(database, space, "segment", "cheap", CHEAP)
    put(database, space, "segment", "odd", {"of": "items", "filter": {"price": {"near": 1}}})
    found = LiveSpace(database, tmp_path, space.name).current().presets
    assert set(found.segments.items) == {"cheap"}
    assert "expected an operator" in found.broken["segment", "odd"]
