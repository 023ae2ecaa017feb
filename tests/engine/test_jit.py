"""Compiled loops are kept on disk, compiled again where what they are made of has changed, and never lost to a file."""

import numba
import pytest
from numba.core import caching

from engine.jit import cache_folder, compiled


@pytest.fixture
def twice(tmp_path, monkeypatch):
    """Makes the function anew, with a cache folder of its own, as another process would."""
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path / "cache"))
    file = tmp_path / "made_of.py"
    file.write_text("1")
    return lambda: compiled(_twice, also=(str(file),))


def _twice(number):
    return number + number


def kept(made) -> int:
    return sum(made.stats.cache_hits.values())


def test_compiled_code_is_read_from_disk_the_next_time(twice):
    assert (twice()(21), kept(again := twice()), again(21), kept(again)) == (42, 0, 42, 1)
    assert cache_folder(again) is not None


def test_a_file_it_is_made_of_that_changed_has_it_compiled_again(twice, tmp_path):
    twice()(21)
    (tmp_path / "made_of.py").write_text("22")
    made = twice()
    assert (made(21), kept(made)) == (42, 0)


@pytest.mark.parametrize("kind", ["nbi", "nbc"])
@pytest.mark.parametrize("left", [0, 9])
def test_half_a_file_has_it_compiled_again_and_kept(twice, tmp_path, kind, left):
    twice()(21)
    [file] = (tmp_path / "cache").rglob(f"*.{kind}")
    file.write_bytes(file.read_bytes()[:left])
    assert twice()(21) == 42
    made = twice()
    assert (made(21), kept(made)) == (42, 1)


def test_a_disk_that_takes_no_more_keeps_nothing_from_running(twice, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(caching.IndexDataCacheFile, "save", full)
    assert twice()(21) == 42


def test_where_no_folder_can_be_written_to_it_is_compiled_without_a_cache(monkeypatch):
    monkeypatch.setattr(caching.CacheImpl, "_locator_classes", [])
    made = compiled(_twice)
    assert (made(21), cache_folder(made)) == (42, None)
