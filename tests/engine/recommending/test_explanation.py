"""What the items of a history add to a score: all of it, for every embedder that is a sum over the history."""

import numpy as np
import pytest
import scipy.sparse as sp

from engine.embedders.registry import make
from engine.recommending.explanation import parts_of
from tests.engine.worlds import checkerboard

PARAMS = {"spectral": {"dim": 4}, "elsa": {"epochs": 2}, "multvae": {"epochs": 2}}
SUMS = {"spectral", "ease", "elsa", "blend"}


@pytest.mark.parametrize("name", ["blend", "ease", "elsa", "ials", "multvae", "spectral"])
def test_the_parts_of_a_history_add_up_to_its_vector_or_say_that_they_do_not(name):
    world = checkerboard()
    space = make(name, PARAMS.get(name, {})).fit(world, seed=0, device="cpu")
    for user in (0, 1, 17):
        cells = world.matrix[user]
        parts, exact = parts_of(space.fold_in, cells)
        assert parts.shape == (cells.nnz, len(space.items.matrix[0]))
        assert exact == (name in SUMS)
        whole = space.fold_in.vectors(cells)[0]
        if exact:
            assert parts.sum(axis=0) == pytest.approx(whole, abs=1e-5)
        else:
            for at in range(cells.nnz):
                one = cells.copy()
                one.data[at] = 0
                one.eliminate_zeros()
                assert parts[at] == pytest.approx(whole - space.fold_in.vectors(one)[0], abs=1e-5)
            one = sp.csr_matrix((np.ones(1, np.float32), ([0], [2])), cells.shape)
            assert parts_of(space.fold_in, one)[0] == pytest.approx(space.fold_in.vectors(one))


def test_items_of_a_users_kind_add_more_than_the_other_kind():
    world = checkerboard()
    space = make("spectral", {"dim": 2}).fit(world, seed=0, device="cpu")
    cells = world.matrix[0].copy()  # even items, and one odd
    mixed = cells.tolil()
    mixed[0, 5] = 1
    parts, _ = parts_of(space.fold_in, mixed.tocsr())
    adds = parts @ np.asarray(space.items.matrix[0])
    odd = list(mixed.tocsr().indices).index(5)
    assert adds[odd] < np.delete(adds, odd).min()
