"""Only the owner can read the files in NEARFIELD_HOME, as with PostgreSQL's own folder."""

import os
import stat

import pytest

from engine.private_folders import restrict_access
from engine.settings import Settings


def modes(folder):
    """The permissions of a folder and everything in it."""
    return {stat.S_IMODE(path.lstat().st_mode) for path in [folder, *folder.rglob("*")] if not path.is_symlink()}


@pytest.fixture(autouse=True)
def generous():
    before = os.umask(0)
    yield
    os.umask(before)


def test_a_generation_is_made_so_that_no_other_user_can_open_it(shop):
    name = shop.publish(recipe="IVF4,Flat")
    assert stat.S_IMODE(shop.folder.parent.stat().st_mode) & 0o700 == 0o700
    space = shop.folder / shop.space.name
    assert modes(space) == {0o700, 0o600}
    assert {stat.S_IMODE(path.stat().st_mode) for path in shop.path(name).iterdir()} == {0o600}
    assert shop.live().current().generation.generation == name


def test_the_folder_of_generations_is_made_closed(shop, tmp_path):
    from indexing.building.build import build_generation

    home = Settings(home=tmp_path / "home")
    build_generation(shop.database, shop.space, 1, home.generations)
    assert modes(home.generations) == {0o700, 0o600}


def test_what_an_earlier_version_left_open_is_closed(tmp_path):
    kept, outside = tmp_path / "generations", tmp_path / "outside"
    (kept / "default" / "20260101T000000-m1-abcdef").mkdir(parents=True)
    (kept / "default" / "20260101T000000-m1-abcdef" / "items.npy").write_bytes(b"vectors")
    outside.write_bytes(b"not ours")
    (kept / "link").symlink_to(outside)
    assert modes(kept) == {0o777, 0o666}
    restrict_access(kept)
    assert modes(kept) == {0o700, 0o600}
    assert stat.S_IMODE(outside.stat().st_mode) == 0o666
    restrict_access(tmp_path / "not there")
