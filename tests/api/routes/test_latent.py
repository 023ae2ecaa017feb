"""Records over HTTP: encode, decode, anomalies, interpolate, sample, and their errors."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import numpy as np
import pytest

from api.server import bound, running
from engine.catalogue import request_cost
from engine.importing import Layout, import_features
from engine.settings import Settings
from engine.store import items, model_reports, spaces
from engine.store.change_feeds.snapshots import transaction_seq
from engine.values.items import ItemVector
from indexing.building.reindex_features import reindex_features
from tests.api.conftest import Shop
from tests.engine.latent_analysis.machines import BROKEN, GOOD, machines, write_machines


@pytest.fixture(scope="module")
def hall(database, tmp_path_factory) -> Iterator[Shop]:
    """The machines, learnt from by pca and served; a space of events beside them in `shop`."""
    folder = tmp_path_factory.mktemp("hall")
    settings = Settings(home=folder, poll_s=0.2)
    with database.begin() as conn:
        space = spaces.ensure(conn, "hall")
        spaces.ensure(conn, "empty")
    layout = Layout("machine", label_column="state")
    import_features(database, "hall", write_machines(folder), layout)
    reindex_features(database, space, "pca", settings.generations, {"dim": 3}, normal="fine")
    import_features(database, "fog", write_machines(folder), layout)
    with database.connect() as conn:
        fog = spaces.get(conn, "fog")
    reindex_features(database, fog, "vqvae", settings.generations, {"dim": 2, "epochs": 2, "hidden": 8})
    with bound("127.0.0.1", 0) as listener, running(settings, database, listener):
        yield Shop(space, f"http://127.0.0.1:{listener.getsockname()[1]}/v1", settings)
    with database.begin() as conn:
        for name in ("hall", "fog", "empty"):
            spaces.delete(conn, name)


def post(hall, verb, body, space="hall"):
    return hall.post(f"/{space}/{verb}", body)


def ok(answer: httpx.Response):
    assert answer.status_code == 200, answer.text
    return answer.json()


def problem(answer: httpx.Response, status):
    assert answer.status_code == status, answer.text
    return answer.json()["detail"]


def test_records_by_name_by_position_and_by_id_have_the_same_vector(hall):
    one = ok(post(hall, "encode", {"record": GOOD}))
    rows = ok(post(hall, "encode", {"values": [[300, 600, 1500, "L"]]}))
    assert np.array(one["vectors"]).shape == (1, 3)
    assert rows["vectors"] == one["vectors"]
    first = machines().drop("machine", "state").row(0, named=True)
    many = ok(post(hall, "encode", {"records": [first, GOOD]}))
    stored = ok(post(hall, "encode", {"item_ids": ["m-000"]}))
    assert stored["vectors"][0] == pytest.approx(many["vectors"][0], abs=1e-5)
    assert (one["model"], one["degraded"]) == (1, False)


def test_a_vector_decodes_to_the_record_it_came_from(hall):
    vector = ok(post(hall, "encode", {"record": GOOD}))["vectors"][0]
    one = ok(post(hall, "decode", {"vector": vector}))["records"][0]
    assert one["heat"] == pytest.approx(300, abs=2)
    assert one["pressure"] == pytest.approx(600, abs=4)
    again = ok(post(hall, "reconstruct", {"records": [GOOD, BROKEN]}))
    assert {**again["records"][0], "heat": 0} == {**one, "heat": 0}
    assert again["errors"][1] > 10 * again["errors"][0]


def test_the_faulty_sensor_is_listed_with_its_expected_value(hall):
    found = ok(post(hall, "anomalies", {"records": [GOOD, BROKEN], "columns": 2, "false_alarm_rate": 0.02}))
    good, broken = found["anomalies"]
    assert (good["anomaly"], broken["anomaly"]) == (False, True)
    assert {each["column"] for each in broken["columns"]} == {"heat", "pressure"}
    pressure = next(each for each in broken["columns"] if each["column"] == "pressure")
    assert pressure["value"] == 540
    assert pressure["expected"] > 550
    assert found["false_alarm_rate"] == 0.02
    faults = ok(post(hall, "anomalies", {"item_ids": [f"m-{row}" for row in range(294, 300)]}))
    assert [each["anomaly"] for each in faults["anomalies"]] == [True] * 6
    loose = ok(post(hall, "anomalies", {"record": GOOD, "quantile": 0.5}))
    assert loose["threshold"] < found["threshold"]


def test_values_unseen_in_training_are_anomalous_and_listed(hall):
    odd = [GOOD | {"mode": "X"}, GOOD | {"heat": "warm"}, dict.fromkeys(GOOD)]
    found = ok(post(hall, "anomalies", {"records": odd}))["anomalies"]
    assert [each["anomaly"] for each in found] == [True, True, True]
    first = [(each["columns"][0]["column"], each["columns"][0]["value"]) for each in found]
    assert first[:2] == [("mode", "X"), ("heat", "warm")]
    by_place = ok(post(hall, "anomalies", {"values": [[300, 600, 1500, "X"]]}))["anomalies"][0]
    assert by_place == found[0]
    assert problem(post(hall, "anomalies", {"record": {"heat": 1}}), 422).endswith("missing pressure, speed, mode")


def test_a_raw_record_searches_and_finds_itself(hall):
    record = machines().drop("machine", "state").row(7, named=True)
    assert ok(post(hall, "search", {"record": record, "k": 1}))["items"][0]["item_id"] == "m-007"


def test_points_between_two_records_have_nearest_items(hall):
    ends = {"start": {"item_id": "m-003"}, "end": {"record": GOOD}}
    steps = ok(post(hall, "interpolate", {**ends, "steps": 5, "nearest": 2}))["steps"]
    assert len(steps) == 5
    assert steps[0]["nearest"][0] == {"item_id": "m-003", "distance": pytest.approx(0, abs=1e-3)}
    assert len(steps[2]["nearest"]) == 2
    middle = (np.array(steps[0]["vector"]) + np.array(steps[4]["vector"])) / 2
    assert steps[2]["vector"] == pytest.approx(middle.tolist(), abs=1e-5)
    assert set(steps[2]["record"]) == {"heat", "pressure", "speed", "mode"}


def test_nearest_items_of_many_points_are_limited_by_cost(hall, database):
    many = {"n": 10_000, "nearest": 100}
    n_items = ok(hall.get("/fog/status"))["items"]
    assert 10_000 * n_items * request_cost.DISTANCE_COST < hall.settings.max_work
    settings = hall.settings.model_copy(update={"max_work": 10_000 * n_items})
    with bound("127.0.0.1", 0) as listener, running(settings, database, listener):
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/v1/fog"
        refused = httpx.post(f"{url}/sample", json=many, timeout=30)
        assert "request fewer points, or no nearest items" in problem(refused, 422)
        assert len(ok(httpx.post(f"{url}/sample", json={"n": 10_000}, timeout=60))["samples"]) == 10_000
        assert len(ok(httpx.post(f"{url}/sample", json={"n": 90, "nearest": 1}, timeout=60))["samples"]) == 90


def test_a_generative_model_samples_and_its_codes_decode(hall):
    first = ok(post(hall, "sample", {"n": 3, "seed": 5, "nearest": 1}, "fog"))
    assert first["samples"] == ok(post(hall, "sample", {"n": 3, "seed": 5, "nearest": 1}, "fog"))["samples"]
    assert first["samples"][0]["nearest"][0]["item_id"].startswith("m-")
    assert ok(post(hall, "sample", {"seed": 2**63 - 1}, "fog"))["seed"] == 2**63 - 1
    encoded = ok(post(hall, "encode", {"record": GOOD}, "fog"))
    by_code = ok(post(hall, "decode", {"codes": encoded["codes"]}, "fog"))["records"]
    assert by_code == ok(post(hall, "decode", {"vectors": encoded["vectors"]}, "fog"))["records"]
    detail = problem(post(hall, "sample", {"n": 1}), 422)
    assert detail == "pca does not learn a distribution, so it cannot sample; vae, vqvae and aae can"


def test_a_record_imported_after_the_build_is_found_at_once(hall, database):
    fresh = hall.settings.home / "fresh.csv"
    fresh.write_text("machine,heat,pressure,speed,mode,state\nnewcomer,300,600,1500,L,fine\n")
    import_features(database, "hall", fresh, Layout("machine", label_column="state"))
    for _ in range(50):
        found = ok(post(hall, "search", {"record": GOOD, "k": 1}))["items"]
        if found[0]["item_id"] == "newcomer":
            break
        time.sleep(0.1)
    assert found[0]["item_id"] == "newcomer"


def test_compress_shows_size_and_loss(hall, shop):
    found = ok(hall.get("/hall/compress"))
    kinds = {each["kind"]: each for each in found["kinds"]}
    assert list(kinds) == ["float32", "float16", "int8", "pq"]
    assert kinds["int8"]["ratio"] > 2
    assert found["vectors"] > 0
    assert ok(shop.get("/compress"))["vectors"] == 40
    assert problem(hall.get("/hall/compress?model=9"), 404) == "there is no model version 9"


def test_kpis_drift_and_map_of_the_served_model(hall, database):
    found = ok(hall.get("/hall/kpis"))
    assert (found["model"], found["embedder"], found["drift"]) == (1, "pca", None)
    assert found["kpis"]["detection"]["recall"] == 1
    assert 0 < found["kpis"]["explained_variance"] <= 1
    assert problem(hall.get("/hall/map"), 404) == "there is no map of model 1 yet; `nearfield map` makes one"
    report = {"psi": 0.75, "alert": True}
    points = {"method": "pca", "of": 1, "ids": ["a"], "x": [0], "y": [0], "titles": [None], "threshold": None}
    points |= {"labels": ["fine"], "scores": [None]}
    with database.begin() as conn:
        model_reports.add_drift(conn, hall.space.key, 1, report)
        model_reports.set_map(conn, hall.space.key, 1, "pca", points)
    assert ok(hall.get("/hall/kpis?model=1"))["drift"] | report == ok(hall.get("/hall/kpis"))["drift"]
    assert ok(hall.get("/hall/map?method=pca")) == points
    html = hall.get("/hall/map?format=html")
    assert html.headers["content-type"] == "text/html; charset=utf-8"
    assert "PCA of 1 items" in html.text
    assert problem(hall.get("/hall/kpis?model=9"), 404) == "there is no model version 9"
    assert "query.method" in problem(hall.get("/hall/map?method=som"), 422)
    metrics = httpx.get(hall.url.removesuffix("/v1") + "/metrics").text
    assert 'nearfield_drift_psi{space="hall"} 0.75' in metrics
    assert 'nearfield_drift_alert{space="hall"} 1.0' in metrics
    assert 'nearfield_drift_psi{space="fog"}' not in metrics


@pytest.mark.parametrize(
    ("verb", "body", "message"),
    [
        ("encode", {"record": {"heat": 1, "cold": 2}}, "missing pressure, speed, mode; unexpected cold"),
        ("encode", {"record": GOOD | {"heat": "warm"}}, "column 'heat' is numeric, got 'warm'"),
        ("encode", {"record": GOOD | {"mode": "X"}}, "column 'mode' has never had the category 'X'; it knows H, L, M"),
        ("encode", {"values": [[1, 2]]}, "expected a row of 4 values in column order, got 2 values"),
        ("encode", {"values": [[1, 2, 1e999, "L"]]}, "valid"),
        ("encode", {"record": GOOD, "values": [[1]]}, "the request is not valid at body"),
        ("encode", {"item_ids": [""]}, "expected a non-empty text id"),
        ("decode", {"vector": [1, 2]}, "expected rows of 3 dimensions"),
        ("decode", {"vectors": [[1, 2, "x"]]}, "expected rows of 3 numbers each"),
        ("decode", {"codes": [[1]]}, "pca has no codes; only a vqvae has"),
        ("anomalies", {"record": GOOD, "false_alarm_rate": 1}, "the request is not valid at body.false_alarm_rate"),
        ("anomalies", {"record": GOOD, "false_alarm_rate": 0.1, "quantile": 0.9}, "not valid at body"),
        ("interpolate", {"start": {"item_id": "m-001"}, "end": {}}, "the request is not valid at body.end"),
        ("encode", {"values": [[10**400, 2, 3, "L"]]}, "column 'heat' is numeric, got 1000"),
        ("sample", {"n": 0}, "the request is not valid at body.n"),
        ("sample", {"seed": 2**63}, "the request is not valid at body.seed"),
    ],
)
def test_an_invalid_request_names_the_place(hall, verb, body, message):
    if body.get("values") == [[1, 2, 1e999, "L"]]:
        text = '{"values": [[1, 2, 1e999, "L"]]}'
        answer = httpx.post(f"{hall.url}/hall/{verb}", content=text, headers={"Content-Type": "application/json"})
        assert problem(answer, 422) == "column 'speed' has an infinity; send null for a missing value"
        return
    assert message in problem(post(hall, verb, body), 422)


def test_unknown_items_and_a_model_without_codec_are_errors(hall, shop):
    assert problem(post(hall, "encode", {"item_ids": ["nobody"]}), 404) == "there is no feature record 'nobody'"
    point = {"start": {"item_id": "nobody"}, "end": {"item_id": "m-001"}}
    assert problem(post(hall, "interpolate", point), 404) == "there is no item 'nobody' with a vector"
    assert problem(post(hall, "encode", {"record": GOOD}, "empty"), 404).startswith("nothing is indexed in space")
    for verb, body in (("encode", {"record": {}}), ("sample", {}), ("search", {"record": {"a": 1}})):
        detail = problem(shop.post(f"/{verb}", body), 409)
        assert "has no encoder and decoder, it was not learnt from feature records" in detail
    assert "recall@20" in ok(shop.get("/kpis"))["kpis"]


def test_interpolation_starts_at_an_item_just_written_by_another_process(hall, database):
    for turn in range(10):
        vector = (0.25 * turn + 1.0, -0.5, 0.125)
        with database.begin() as conn:
            items.upsert(conn, hall.space.key, [items.Item("m-003", vector=ItemVector(1, vector))])
            seq = transaction_seq(conn)
        way = {"start": {"item_id": "m-003"}, "end": {"item_id": "m-004"}, "nearest": 0, "min_seq": seq}
        assert ok(post(hall, "interpolate", way))["steps"][0]["vector"] == pytest.approx(vector)


def test_a_number_near_the_float_maximum_is_an_anomaly_of_its_column(hall):
    found = ok(post(hall, "anomalies", {"records": [GOOD, GOOD | {"speed": 1e30}, GOOD | {"heat": -1e308}]}))
    good, fast, cold = found["anomalies"]
    assert (good["anomaly"], fast["anomaly"], cold["anomaly"]) == (False, True, True)
    assert 1e7 < fast["score"] < 1e12
    assert (fast["columns"][0]["column"], fast["columns"][0]["value"]) == ("speed", 1e30)
    assert fast["columns"][0]["share"] > 0.9
    assert cold["columns"][0]["column"] == "heat"
    assert ok(post(hall, "reconstruct", {"record": GOOD | {"speed": 1e30}}))["errors"][0] > 0
    far = {"start": {"vector": [1e20] * 3}, "end": {"vector": [1e-30] * 3}, "steps": 2}
    steps = ok(post(hall, "interpolate", far))["steps"]
    assert steps[0]["nearest"][0]["distance"] == pytest.approx(1.732e20, rel=1e-3)


def test_vectors_at_the_ends_of_float32_search_as_their_direction_says(shop):
    plain = ok(shop.post("/search", {"vector": [1.0] * 8, "k": 3}))["items"]
    for number in (1e20, 1e-30, 3e38, 1e-44):
        found = ok(shop.post("/search", {"vector": [number] * 8, "k": 3}))["items"]
        assert [hit["item_id"] for hit in found] == [hit["item_id"] for hit in plain]
        assert [hit["score"] for hit in found] == pytest.approx([hit["score"] for hit in plain])
    wanted = ok(shop.post("/recommend", {"vector": [1.0] * 8, "k": 3}))["items"]
    for number in (1e20, 1e-20):
        found = ok(shop.post("/recommend", {"vector": [number] * 8, "k": 3}))["items"]
        assert [hit["item_id"] for hit in found] == [hit["item_id"] for hit in wanted]
        assert [hit["score"] / number for hit in found] == pytest.approx([hit["score"] for hit in wanted])
    message = problem(shop.post("/recommend", {"vector": [3e38] * 8}), 422)
    assert "expected a length of 1e-30 to 1e+30, got 8.5e+38; scale the vector" in message
    message = problem(shop.put("/items/far", {"title": "far", "vector": [1e20] * 8}), 422)
    assert "expected a length of 1e-07 to 1e+07, got 2.8e+20; scale the vector" in message
