"""Event kinds: usual words of shops are recognised, and unknown words have weight 0."""

import numpy as np
import pytest

from engine.values.event_kinds import KIND_OF_WORD, KINDS, fold_word
from engine.values.events import History, Weighting
from engine.values.ids import IdMap
from engine.values.interactions import from_events, from_history
from engine.values.kind_synonyms import SYNONYMS
from tests.engine.worlds import columns

DEFAULT = Weighting()


def weights(*words: str, weighting: Weighting = DEFAULT) -> list[float]:
    return weighting.weigh(list(words), np.ones(len(words), np.float32), np.zeros(len(words))).tolist()


def test_case_and_separators_of_words_make_no_difference() -> None:
    words = [
        "Order Completed",
        "order-completed",
        "orderCompleted",
        "ORDER_COMPLETED",
        " order.completed ",
        "Ordercompleted",
    ]
    assert {fold_word(word) for word in words} == {"ordercompleted"}
    assert weights(*words) == [5.0] * 6
    assert fold_word("Gemüse gekauft") == fold_word("GEMU\u0308SE_GEKAUFT")


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (
            "purchase",
            ["Purchase", "order", "transaction", "Order Completed", "buy", "checkout_completed", "Placed Order"],
        ),
        ("cart", ["addtocart", "add_to_cart", "Product Added", "begin_checkout", "AddToCart", "added_to_cart"]),
        ("view", ["view_item", "Product Viewed", "pv", "read", "ViewContent", "detail-page-view", "DetailView"]),
        ("click", ["select_item", "Product Clicked"]),
        ("like", ["add_to_wishlist", "fav", "star", "Product Added to Wishlist", "favourite", "bookmark"]),
        ("return", ["Return", "refund", "cancel", "Order Refunded", "Order Cancelled", "order_canceled"]),
        ("dislike", ["hide", "Thumbs Down", "not-interested"]),
        ("remove_from_cart", ["remove_from_cart", "Product Removed", "removed from cart", "removeEcommerceItem"]),
        ("unlike", ["unlike", "unfav", "remove_from_wishlist", "Product Removed from Wishlist"]),
        ("impression", ["impression", "view_item_list", "Product List Viewed", "productImpression"]),
    ],
)
def test_the_usual_words_mean_our_kinds_and_weigh_as_they_do(kind: str, words: list[str]) -> None:
    assert {DEFAULT.vocabulary.kind(word) for word in words} == {kind}
    assert weights(*words) == weights(kind) * len(words)


def test_no_word_has_two_meanings_and_every_kind_has_words() -> None:
    assert len(KIND_OF_WORD) == sum(len({fold_word(word) for word in words.split()}) for words in SYNONYMS.values())
    assert set(SYNONYMS) == set(KINDS)


def test_negative_kinds_never_raise_a_score_and_impressions_have_no_effect() -> None:
    words = ["Return", "refund", "remove_from_cart", "unlike", "hide", "cancel", "impression"]
    assert weights(*words) == [-5.0, -5.0, -3.0, -3.0, -3.0, -5.0, 0.0]


def test_an_unknown_word_weighs_nothing_until_the_space_lists_it() -> None:
    assert weights("waved", "wishlist") == [0.0, 0.0]
    listed = Weighting(kinds=dict(DEFAULT.kinds) | {"wishlist": 2.0})
    assert weights("Wish List", "wish-list", "waved", weighting=listed) == [2.0, 2.0, 0.0]
    counts = {"wishlist": 3, "view": 9, "waved": 1}
    assert DEFAULT.vocabulary.unknown_words(counts) == {"wishlist": 3, "waved": 1}
    assert listed.vocabulary.unknown_words(counts) == {"waved": 1}


def test_a_listed_word_of_the_shop_overrides_a_synonym() -> None:
    listed = Weighting(kinds=dict(DEFAULT.kinds) | {"transaction": 7.0, "hide": 1.0})
    assert weights("Transaction", "order", "hide", "dislike", weighting=listed) == [7.0, 5.0, 1.0, -3.0]
    assert listed.vocabulary.kind("transaction") == "purchase", "it is worth more, and still one"
    assert listed.vocabulary.kind("hide") is None, "this shop means something good by it"


def test_a_reversing_kind_has_minus_the_weight_that_the_space_gave() -> None:
    listed = Weighting(kinds={"cart": 4.0, "like": 1.0})
    assert weights("remove_from_cart", "unfav", "purchase", weighting=listed) == [-4.0, -1.0, 0.0]
    rows = [("ann", "cup", "view", 1, 0), ("ann", "hat", "add_to_cart", 2, 0), ("ann", "hat", "Product Removed", 2, 0)]
    assert from_events(columns(rows), DEFAULT, 0).items.ids == ("cup",)


def test_a_live_history_in_the_words_of_a_shop_is_that_of_ours() -> None:
    def row(*kinds: str) -> list[float]:
        history = History(("cup",) * 2 + ("hat",), kinds, np.ones(3, np.float32), np.zeros(3, np.int64))
        return from_history(history, IdMap(["cup", "hat"]), DEFAULT, 0).toarray()[0].tolist()

    assert row("transaction", "pv", "addToCart") == row("purchase", "view", "cart")
