"""Tables of an evaluation, for people."""

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
PREDICTED = {"random": "a random tenth of what users took up", "last": "the last item of every user"}


def evaluation_table(evaluation: Mapping[str, Any], embedder: str, k: int = 20) -> None:
    """Recall, ndcg and coverage of a model beside popularity, recent popularity and item-kNN."""
    if "choice" in evaluation:
        out.print(f"chosen: {evaluation['choice']['reason']}", markup=False)
    if f"recall@{k}" not in evaluation:
        out.print(evaluation.get("note", "no evaluation"))
        return
    if "dislikes" in evaluation:
        found = evaluation["dislikes"]
        out.print(f"dislikes take {found['weight']:g} from what is like them: {found['reason']}", markup=False)
    side_by_side(evaluation, [(embedder, evaluation)], k)
    if evaluation.get("similar"):
        out.print(similar_line(evaluation["similar"], k), markup=False)


def similar_line(figures: Mapping[str, Any], k: int) -> str:
    """Recall of the next item given one, and the share in a category of the item where any is known, and item-kNN's."""
    names = {f"recall@{k}": f"recall@{k} of the next item given one", "coherence@5": "of 5 in a category of the item"}
    parts = [
        f"{what} {figures[name]:.4f}, item-kNN {figures['item_knn'][name]:.4f}"
        for name, what in names.items()
        if name in figures and name in figures["item_knn"]
    ]
    return f"similar items: {'; '.join(parts)}"


def side_by_side(evaluation: Mapping[str, Any], made: Sequence[tuple[str, Mapping[str, Any]]], k: int = 20) -> None:
    """The figures of each of `made` by its name, then those of the baselines of `evaluation`."""
    beside = [(_told(name, evaluation[name]), evaluation[name]) for name in BASELINES if name in evaluation]
    rows = []
    for name, figures in (*made, *beside):
        low, high = figures[f"recall@{k}_interval"]
        lower, higher = figures[f"ndcg@{k}_interval"]
        recall = (figures[f"recall@{k}"], f"{low:.4f} to {high:.4f}")
        ndcg = (figures[f"ndcg@{k}"], f"{lower:.4f} to {higher:.4f}")
        rows.append((name, *recall, *ndcg, figures[f"coverage@{k}"]))
    predicted = PREDICTED.get(str(evaluation.get("split")), "the last tenth of the events")
    if evaluation.get("repeats"):
        predicted += ", what was bought before as well"
    title = f"on {predicted}, {evaluation['n_users']} users"
    table(("", f"recall@{k}", "95% interval", f"ndcg@{k}", "95% interval", f"coverage@{k}"), rows, title)


def _told(baseline: str, figures: Mapping[str, Any]) -> str:
    days = figures.get("half_life_days")
    return BASELINES[baseline] + (f" ({days:g} days)" if days else "")


def more_tables(evaluation: Mapping[str, Any], k: int = 20) -> None:
    """Other k, segments, novelty, popularity bias and users never seen."""
    if "at" not in evaluation:
        return
    names = ("recall", "ndcg", "hit", "mrr")
    table(("k", *names), [(at, *(each[name] for name in names)) for at, each in evaluation["at"].items()])
    parts = evaluation["segments"]
    rows = [(f"{name} users", each["n_users"], each[f"recall@{k}"]) for name, each in parts["users"].items()]
    rows += [(f"{name} items", each["n_users"], each[f"recall@{k}"]) for name, each in parts["items"].items()]
    if evaluation.get("strong"):
        rows.append(("users never seen", evaluation["strong"]["n_users"], evaluation["strong"][f"recall@{k}"]))
    table(("segment", "users", f"recall@{k}"), rows)
    bias, novelty = evaluation[f"popularity_bias@{k}"], evaluation[f"novelty@{k}"]
    out.print(f"novelty {novelty:.2f} bits; popularity {bias:.2f} times that of the users' own histories")
