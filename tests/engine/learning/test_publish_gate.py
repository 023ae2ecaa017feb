from engine.evaluation.evaluate_embedder import POPULARITY_OF_ALL_TIMES
from engine.learning.publish_gate import beats_popularity


def test_a_model_is_published_when_its_recall_is_at_least_that_of_popularity():
    assert beats_popularity({"recall@20": 0.2, POPULARITY_OF_ALL_TIMES: {"recall@20": 0.2}})
    assert not beats_popularity({"recall@20": 0.19, POPULARITY_OF_ALL_TIMES: {"recall@20": 0.2}})


def test_a_model_that_could_not_be_evaluated_is_published():
    assert beats_popularity({"note": "too little data"})
