"""Prints an evaluation as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from api.cli.terminal.output import out, table

BASELINES = {
    "popularity": "popularity",
    "recent_popularity": "recent popularity",
    "popularity_of_all_times": "popularity of all times",
    "item_knn": "item-kNN",
}
TEST_SETS = {"random": "a random tenth of the users' items", "last": "the last item of every user"}


def print_evaluation(evaluation: Mapping[str, Any], embedder: str, k: int = 20) -> None:
    """Recall, ndcg and coverage of a model beside popularity, recent popularity and item-kNN."""
    if "choice" in evaluation:
        out.print(f"chosen: {evaluation['choice']['reason']}", markup=False)
    if f"recall@{k}" not in evaluation:
        out.print(evaluation.get("note", "no evaluation"))
        return
    if "dislikes" in evaluation:
        dislikes = evaluation["dislikes"]
        out.print(
            f"dislikes lower similar items by a weight of {dislikes['weight']:g}: {dislikes['reason']}", markup=False
        )
    print_comparison(evaluation, [(embedder, evaluation)], k)
    if evaluation.get("similar"):
        out.print(similar_items_line(evaluation["similar"], k), markup=False)


def similar_items_line(figures: Mapping[str, Any], k: int) -> str:
    """Metrics of similar items, beside item-kNN's: recall of the next item, and the share in the same category.

    The share is there only if items have categories.
    """
    labels = {f"recall@{k}": f"recall@{k} of the next item given one", "coherence@5": "of 5 in a category of the item"}
    parts = [
        f"{label} {figures[name]:.4f}, item-kNN {figures['item_knn'][name]:.4f}"
        for name, label in labels.items()
        if name in figures and name in figures["item_knn"]
    ]
    return f"similar items: {'; '.join(parts)}"


def print_comparison(
    evaluation: Mapping[str, Any], models: Sequence[tuple[str, Mapping[str, Any]]], k: int = 20
) -> None:
    """A row for each of `models` (name, figures), then a row for each baseline of `evaluation`."""
    baselines = [(_baseline_name(name, evaluation[name]), evaluation[name]) for name in BASELINES if name in evaluation]
    rows = []
    for name, figures in (*models, *baselines):
        low, high = figures[f"recall@{k}_interval"]
        lower, higher = figures[f"ndcg@{k}_interval"]
        recall = (figures[f"recall@{k}"], f"{low:.4f} to {high:.4f}")
        ndcg = (figures[f"ndcg@{k}"], f"{lower:.4f} to {higher:.4f}")
        rows.append((name, *recall, *ndcg, figures[f"coverage@{k}"]))
    test_set = TEST_SETS.get(str(evaluation.get("split")), "the last tenth of the events")
    if evaluation.get("repeats"):
        test_set += ", repeat purchases included"
    title = f"on {test_set}, {evaluation['n_users']} users"
    table(("", f"recall@{k}", "95% interval", f"ndcg@{k}", "95% interval", f"coverage@{k}"), rows, title)


def _baseline_name(baseline: str, figures: Mapping[str, Any]) -> str:
    days = figures.get("half_life_days")
    return BASELINES[baseline] + (f" ({days:g} days)" if days else "")


def print_details(evaluation: Mapping[str, Any], k: int = 20) -> None:
    """Other k, segments, users not seen in training, novelty and popularity bias."""
    if "at" not in evaluation:
        return
    metrics = ("recall", "ndcg", "hit", "mrr")
    table(("k", *metrics), [(at, *(each[name] for name in metrics)) for at, each in evaluation["at"].items()])
    segments = evaluation["segments"]
    rows = [(f"{name} users", each["n_users"], each[f"recall@{k}"]) for name, each in segments["users"].items()]
    rows += [(f"{name} items", each["n_users"], each[f"recall@{k}"]) for name, each in segments["items"].items()]
    if evaluation.get("strong"):
        rows.append(("users not in training", evaluation["strong"]["n_users"], evaluation["strong"][f"recall@{k}"]))
    table(("segment", "users", f"recall@{k}"), rows)
    bias, novelty = evaluation[f"popularity_bias@{k}"], evaluation[f"novelty@{k}"]
    out.print(f"novelty {novelty:.2f} bits; items {bias:.2f} times as popular as those in the users' histories")
