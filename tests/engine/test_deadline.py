"""Work that nobody waits for any more ends, wherever it is."""

import contextvars
import math

import numpy as np
import pytest

from engine.catalogue import request_cost
from engine.catalogue.case_folded import fold_texts
from engine.catalogue.predicate import parse
from engine.deadline import check_deadline, set_work_deadline, until_deadline
from engine.errors import DeadlineExceeded, InputError
from engine.recommending.values.boosted_search import best_boosted
from engine.recommending.values.boosts import Boost
from indexing.searchers.filter_masks import FilterMasks, LiveItem
from tests.engine.catalogue.test_predicate import ALL, columns, item

FOUND = np.ones((1, 3), np.float32), np.arange(3)[None]
AMONG = {"title": {"contains": "shoe"}}


def too_late(work):
    """What `work` says in a context whose time is over."""

    def late():
        set_work_deadline(0.0)
        work()

    contextvars.copy_context().run(late)


@pytest.mark.parametrize(
    "long",
    [
        lambda: columns(ALL).mask(parse(AMONG)),
        lambda: FilterMasks(None).shown(parse(AMONG), {0: LiveItem("shoe", 1, b"{}", {}, True)}, 1, None),
        lambda: best_boosted(lambda width: FOUND, 3, 1, Boost(np.ones(3, np.float32))),
        lambda: list(until_deadline([1, 2, 3])),
    ],
    ids=["a condition", "what changed since", "a boost", "a loop"],
)
def test_work_ends_once_its_time_is_over_and_has_no_end_of_its_own(long):
    with pytest.raises(DeadlineExceeded, match="the request was not finished before its deadline"):
        too_late(long)
    check_deadline()


def test_a_loop_looks_at_the_time_again_and_again():
    def halfway():
        set_work_deadline(math.inf)
        for at in until_deadline(range(1000), every=10):
            if at == 500:
                set_work_deadline(0.0)
        raise AssertionError("it went on")

    with pytest.raises(DeadlineExceeded):
        contextvars.copy_context().run(halfway)


def test_a_text_is_found_within_others_whatever_their_case():
    texts = ["Straße", "STRASSE 5", "Café", "cafe", "İstanbul", "ΣΊΣΥΦΟΣ", "", "plain", "plain"]
    catalogue = columns([item(f"i{at}", title=text) for at, text in enumerate(texts)])
    for wanted in ("strasse", "ß", "CAFÉ", "σίσυφος", "i̇s", "PLAIN", " 5", ""):
        found = catalogue.mask(parse({"title": {"contains": wanted}})).tolist()
        assert found == [wanted.casefold() in text.casefold() for text in texts], wanted


def test_few_columns_are_kept_without_their_case():
    names = [f"name-{n}" for n in range(8)]
    catalogue = columns([item("i", **dict.fromkeys(names, "Text"))])
    for name in names:
        assert catalogue.mask(parse({name: {"contains": "TEXT"}})).tolist() == [True]
    assert list(catalogue._folded._cached) == [(f"attributes.{name}", "text") for name in names[-4:]]
    assert fold_texts(catalogue.field_values("attributes.name-0", "text").values).texts.to_pylist() == ["text"]


def test_to_look_within_long_texts_costs_by_their_length():
    catalogue = columns([item(f"i{at}", title="t" * 1000, story="s" * 500) for at in range(10)])
    size = request_cost.RequestSize(n_items=10, n_changed=0, text_bytes=catalogue.text_bytes)
    assert size.filter_cost(parse({"title": {"contains": "a"}})) // 1000 == 20  # 10,000 bytes, and where each text ends
    assert size.filter_cost(parse({"story": {"contains": "a"}})) // 1000 == 10
    assert size.filter_cost(parse({"story": "a"})) == 10 * 28
    assert size.filter_cost(parse({"colour": {"contains": "a"}})) == 10 * 68


def test_a_text_within_a_text_costs_more_than_a_number_and_both_by_items():
    size = request_cost.RequestSize(n_items=1_000_000, n_changed=0)
    number, text = parse({"price": {"lt": 3}}), parse(AMONG)
    assert (size.filter_cost(number), size.filter_cost(text)) == (10_000_000, 68_000_000)
    assert request_cost.RequestSize(0, 1000).filter_cost(text) == 1_000_000
    request_cost.check_cost(68_000_000, 68_000_000, ("filter",))
    with pytest.raises(InputError, match=r"costs about 0\.2 s of a core, at most 0\.1 s are allowed; ask for fewer"):
        request_cost.check_cost(200_000_000, 100_000_000, ("filter",))
