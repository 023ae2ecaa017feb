"""A shop whose index is built, published and looked at."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from engine.embedders.registry import make
from engine.recommending.pipeline import recommend
from engine.recommending.values.request import Request
from engine.store import events, models
from engine.store.database.connections import Database
from engine.store.spaces import Space
from engine.values.interactions import from_events
from indexing.building.build import build_generation
from indexing.building.publish import publish
from indexing.refresh.live_space import LiveSpace

NOW = datetime(2026, 3, 1, tzinfo=UTC)
NOW_US = int(NOW.timestamp() * 1e6)
USERS, ITEMS = 40, 30


@dataclass(frozen=True)
class Shop:
    """The checkerboard as a space with a trained model: even users like even items."""

    database: Database
    space: Space
    folder: Path

    def train(self) -> int:
        with self.database.begin() as conn:
            columns = events.read_columns(conn, self.space.key)
            latent = make("spectral", {"dim": 2}).fit(
                from_events(columns, self.space.weighting, NOW_US), seed=0, device="cpu"
            )
            return models.save(
                conn, self.space.key, embedder="spectral", params={}, space=latent, evaluation={}, publishable=True
            ).version

    def build(self, version=1, recipe="auto") -> str:
        return build_generation(self.database, self.space, version, self.folder, recipe=recipe)

    def publish(self, version=1, recipe="auto") -> str:
        name = self.build(version, recipe)
        publish(self.database, self.space, name, self.folder)
        return name

    def path(self, name) -> Path:
        return self.folder / self.space.name / name

    def live(self) -> LiveSpace:
        return LiveSpace(self.database, self.folder, self.space.name)

    def change(self, what, *arguments):
        with self.database.begin() as conn:
            return what(conn, self.space.key, *arguments)

    def history(self, user_id):
        with self.database.connect() as conn:
            return events.history(conn, self.space.key, user_id, 100)

    def answer_to(self, view, **request):
        [answer] = recommend(view, [Request(**request)], weighting=self.space.weighting, now_us=NOW_US)
        return answer

    def similar(self, view, item_ids, unlike=(), **request):
        return self.answer_to(view, source="search", item_ids=item_ids, unlike=unlike, **request)

    def ranked(self, view, item_ids, **request):
        """The given items in the order of a history."""
        return self.answer_to(view, source="given_items", k=len(item_ids), item_ids=item_ids, **request).hits

    def shown(self, view, user_id="u0", k=100, exclude=()):
        """The ids that a user is shown, best first."""
        answer = self.answer_to(view, k=k, history=self.history(user_id), exclude_items=exclude)
        return [hit.item_id for hit in answer.hits]
