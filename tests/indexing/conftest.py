from datetime import timedelta

import pytest

from engine.store import events
from engine.values.events import Event
from tests.engine.worlds import missing
from tests.indexing.shop import ITEMS, NOW, USERS, Shop


@pytest.fixture
def shop(database, space, tmp_path):
    made = Shop(database, space, tmp_path)
    rows = [
        Event(f"u{user}", f"i{item}", "view", NOW - timedelta(days=1))
        for user in range(USERS)
        for item in range(user % 2, ITEMS, 2)
        if item != missing(user, ITEMS)
    ]
    made.change(events.append, rows)
    assert made.train() == 1
    return made
