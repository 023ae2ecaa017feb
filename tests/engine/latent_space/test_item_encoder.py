"""ItemEncoder: predicts the vector of a new item from its catalogue fields."""

import numpy as np
import pytest

from engine.catalogue.predicate import PREFIX
from engine.latent_space.item_encoder import ItemEncoder, item_features, learn, restore

N, DIM = 240, 6
COLOURS, ROOMS = ("oak", "pine", "steel"), ("bed room", "kitchen")


def said(row, **more):
    """The fields of an item: colour in the title, room as category, size as attribute."""
    facts = {
        "title": f"{COLOURS[row % 3].title()} table No. {row}",
        "categories": [ROOMS[row // 3 % 2]],
        PREFIX + "size": float(1 + row % 7),
    }
    return facts | more


@pytest.fixture(scope="module")
def world():
    """Items whose vector is the sum of a colour vector, a room vector and a vector times log size."""
    draw = np.random.default_rng(0)
    colours, rooms, size = draw.standard_normal((3, DIM)), draw.standard_normal((2, DIM)), draw.standard_normal(DIM)
    rows = np.arange(N)
    made = colours[rows % 3] + rooms[rows // 3 % 2] + np.log1p(1 + rows % 7)[:, None] * size
    vectors = (made + 0.05 * draw.standard_normal((N, DIM))).astype(np.float32)
    return [said(row) for row in rows], vectors, made


def test_a_new_item_lies_where_its_words_category_and_number_put_it(world):
    items, vectors, truth = world
    encoder = learn(items[:200], vectors[:200])
    made = encoder.encode(items[200:])
    assert (made.dtype, made.shape) == (np.float32, (40, DIM))
    assert np.abs(made - truth[200:]).max() < 0.3
    assert encoder.explained > 0.95
    swapped = [item | {"categories": [ROOMS[0] if item["categories"] == [ROOMS[1]] else ROOMS[1]]} for item in items]
    assert np.abs(encoder.encode(swapped[200:]) - truth[200:]).max() > 0.3


def test_an_item_of_which_nothing_known_is_said_gets_no_vector(world):
    items, vectors, _ = world
    made = learn(items, vectors).encode([{}, {"title": "Unheard"}, {PREFIX + "weight": 3.0}, items[0]])
    assert not made[:3].any()
    assert made[3].any()


def test_facts_that_tell_nothing_make_no_encoder(world):
    items, vectors, _ = world
    draw = np.random.default_rng(1)
    assert learn([{"title": f"word{draw.integers(9)} word{draw.integers(9)}"} for _ in items], vectors) is None
    assert learn([{} for _ in items], vectors) is None
    assert learn([{"title": f"only{row}"} for row in range(N)], vectors) is None  # each word occurs once
    assert learn(items[:10], vectors[:10]) is None  # too few for a held-out part


def test_one_made_again_from_its_state_encodes_the_same(world):
    items, vectors, _ = world
    encoder = learn([item | {"title": item["title"] + " Ωμέγα 木"} for item in items], vectors)
    again = restore(encoder.state())
    assert isinstance(again, ItemEncoder)
    assert again.features == encoder.features
    np.testing.assert_array_equal(again.encode(items), encoder.encode(items))


def test_the_same_items_teach_the_same(world):
    items, vectors, _ = world
    np.testing.assert_array_equal(learn(items, vectors).weights, learn(items, vectors).weights)


def test_fields_of_an_item_become_features_by_their_type():
    found = dict(
        item_features(
            {
                "title": "Bunk bed, oak",
                "categories": ["beds"],
                PREFIX + "price": 99.0,
                PREFIX + "colours": ["red", "blue"],
                PREFIX + "in_stock": True,
                PREFIX + "note": "x" * 500,
                "features.width": 2.5,
                "available": True,
            }
        )
    )
    assert found["category beds"] is None
    assert {"title bunk", "title bed", "title oak"} <= set(found)
    assert found[f"number {PREFIX}price"] == pytest.approx(np.log1p(99.0))
    assert {f"{PREFIX}colours red", f"{PREFIX}colours blue", f"{PREFIX}in_stock True"} <= set(found)
    assert found["features.width"] == 2.5
    assert not any("xxx" in name for name in found)  # a long text is not a category
    assert not any(name.startswith("available") for name in found)
