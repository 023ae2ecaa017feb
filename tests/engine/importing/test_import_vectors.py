"""Imported vectors: every format gives the same vectors, and invalid rows are counted."""

import gzip
import struct

import numpy as np
import polars as pl
import pytest

from engine.errors import InputError
from engine.importing import Layout, import_vectors
from engine.importing.vectors import read
from engine.store import models
from engine.values.vectors import normalise_rows, row_lengths

WORDS = ["cup", "mug", "über-hat"]
MATRIX = np.array([[1, 0.5], [1, 0.25], [-1, 2]], np.float32)
TEXT = "3 2\n" + "".join(f"{word} {a} {b}\n" for word, (a, b) in zip(WORDS, MATRIX.tolist(), strict=True))


def write(path):
    binary = b"3 2\n" + b"".join(
        word.encode() + b" " + struct.pack("<2f", *row) + b"\n" for word, row in zip(WORDS, MATRIX, strict=True)
    )
    frame = pl.DataFrame({"item_id": WORDS, "vector": MATRIX.tolist()})
    wide = pl.DataFrame({"id": WORDS, "a": MATRIX[:, 0], "b": MATRIX[:, 1]})
    match "".join(path.suffixes):
        case ".bin":
            path.write_bytes(binary)
        case ".bin.gz":
            path.write_bytes(gzip.compress(binary))
        case ".vec":
            path.write_text(TEXT)
        case ".txt":
            path.write_text(TEXT.split("\n", 1)[1])  # as GloVe writes it
        case ".parquet":
            frame.write_parquet(path)
        case ".jsonl":
            frame.write_ndjson(path)
        case ".csv":
            wide.write_csv(path)
        case ".npz":
            np.savez(path, x=MATRIX, ids=np.array(WORDS))
    return path


@pytest.mark.parametrize("suffix", [".bin", ".bin.gz", ".vec", ".txt", ".parquet", ".jsonl", ".csv", ".npz"])
def test_every_format_gives_the_same_ids_and_vectors(tmp_path, suffix):
    found = read(write(tmp_path / f"v{suffix}"), Layout())
    assert found.ids == WORDS
    assert np.array_equal(found.matrix, MATRIX)


def test_vectors_become_items_and_a_model_version_and_invalid_rows_are_counted(database, space, tmp_path):
    (tmp_path / "v.vec").write_text("a 1 2\nb 0 0\nc nan 1\na 3 4\n")
    summary, record = import_vectors(database, space.name, tmp_path / "v.vec")
    assert summary.to_json() | {"seconds": 0} == {
        "read": 4,
        "written": 1,
        "duplicates": 1,
        "rejected": {"all zeros": 1, "not finite": 1},
        "seconds": 0,
    }
    assert (record.embedder, record.metric, record.dim, record.n_items) == ("imported", "cosine", 2, 1)
    with database.connect() as conn:
        latent = models.load_space(conn, space.key, record.version)
    assert (latent.items.ids.ids, latent.items.matrix.tolist(), latent.codec) == (("a",), [[3, 4]], None)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("v.bin", b"three 2\n", "expected the number of words and the number of dimensions in its first line"),
        ("v.bin", b"3 2\ncup 12345678", "it is too short for 3 words of 2 dimensions"),
        ("v.vec", b"2 2\ncup 1 2\n", "expected 2 words by its first line, got 1"),
        ("v.vec", b"2 2\ncup 1 2\nmug 1\n", "line 3 has 1 numbers, expected 2"),
        ("v.vec", b"cup 1 x\n", "could not convert string to float"),
        ("v.csv", b"item_id,name\na,b\n", "column 'name' of v.csv contains text"),
        ("v.vec", b"cup 0 0\n", "v.vec has no valid vector; the most frequent reason is: all zeros"),
        ("v.npy", b"", "v.npy cannot be read as NPY"),
    ],
)
def test_a_file_without_valid_vectors_is_refused(database, space, tmp_path, name, data, message):
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message):
        import_vectors(database, space.name, tmp_path / name)
    with database.connect() as conn:
        assert models.list_all(conn, space.key) == []


def test_vectors_at_the_ends_of_float32_keep_their_direction(database, space, tmp_path):
    (tmp_path / "v.vec").write_text("long 1e20 1e20\nshort 1e-30 0\nlongest 3e38 -3e38\nplain 3 4\n")
    _, record = import_vectors(database, space.name, tmp_path / "v.vec")
    with database.connect() as conn:
        latent = models.load_space(conn, space.key, record.version)
    rows = {id_: latent.items.matrix[row] for row, id_ in enumerate(latent.items.ids.ids)}
    assert rows["plain"].tolist() == [3, 4]
    assert normalise_rows(np.stack([rows[id_] for id_ in ("long", "short", "longest")])) == pytest.approx(
        np.array([[0.5**0.5, 0.5**0.5], [1, 0], [0.5**0.5, -(0.5**0.5)]])
    )
    assert row_lengths(latent.items.matrix).max() == 5
