"""Maps: distant groups stay apart, a seed is reproducible, and the page loads nothing from other hosts."""

import json
import re

import numpy as np
import pytest

from api.maps.colours import OTHER, by_label, by_score
from api.maps.page import html_page
from engine.errors import InputError, NotEnoughData
from engine.latent_analysis.latent_map import latent_map
from engine.latent_analysis.projection import to_2d
from engine.values.ids import IdMap
from engine.values.vectors import Vectors


def two_groups(n=40):
    draw = np.random.default_rng(3)
    points = draw.normal(0, 0.5, (n, 6)).astype(np.float32)
    points[n // 2 :, 0] += 12
    return points


@pytest.mark.parametrize("method", ["pca", "tsne", "umap"])
def test_neighbours_stay_neighbours_and_a_seed_repeats(method):
    points = two_groups()
    flat = to_2d(points, method, seed=1)
    assert flat.shape == (40, 2)
    apart = ((flat[:, None] - flat[None]) ** 2).sum(axis=2)
    np.fill_diagonal(apart, np.inf)
    nearest = apart.argmin(axis=1)
    assert np.array_equal(nearest < 20, np.arange(40) < 20)
    if method != "umap":
        assert np.array_equal(flat, to_2d(points, method, seed=1))


def test_an_unknown_method_and_too_few_vectors_are_refused():
    with pytest.raises(InputError, match="expected a method of pca, tsne, umap, got 'som'"):
        to_2d(two_groups(), "som")
    with pytest.raises(NotEnoughData, match="expected at least 10 vectors to draw a map of, got 4"):
        to_2d(two_groups(4))


def made(n=30):
    ids = [f"</script>{row}" for row in range(40)]
    labels = {id_: "left" if row < 20 else "right" for row, id_ in enumerate(ids)}
    scores = {id_: float(row) for row, id_ in enumerate(ids)}
    titles = {ids[0]: "Zero & co"}
    vectors = Vectors(IdMap(ids), two_groups())
    return latent_map(vectors, "pca", labels=labels, scores=scores, titles=titles, threshold=30.0, n=n)


def test_a_page_is_whole_in_itself_and_survives_any_id():
    html = html_page(made())
    assert "://" not in html
    assert html.count("</script>") == 2
    data = json.loads(re.search(r'application/json">(.*?)</script>', html, re.DOTALL).group(1))
    assert len(data["ids"]) == len(data["x"]) == 30
    assert data["of"] == 40
    assert list(data["colours"]) == ["label", "anomaly score"]
    assert sorted(data["order"]["anomaly score"]) == list(range(30))
    assert [name for name, _ in data["colours"]["label"]["legend"]] == ["left", "right"]


def test_colours_go_by_label_in_natural_order_and_by_score_up_to_the_threshold():
    points, legend = by_label(["10", "9", None, "9"])
    assert [name for name, _ in legend] == ["9", "10", "other"]
    assert points[1] == points[3] != points[0]
    assert points[2] == OTHER
    many, legend = by_label([str(n) for n in range(40)])
    assert len(legend) == 16
    assert many.count(OTHER) == 25
    ramp, _ = by_score([0.0, 5.0, 10.0, 20.0, None], 10.0)
    assert ramp[2] == ramp[3] != ramp[1] != ramp[0]
    assert ramp[4] == OTHER
