"""The compiled boosted search of `int8_lists.Int8Lists`: the rows with the best score x factor + addend.

It reads the nearest lists as `int8_scan` does and drops a row when the upper bound of its boosted score is below the
k-th largest lower bound. A row that was not read can only be better if its plain score is above a threshold: the plain
score that reaches the k-th best with the largest factor and addend. The more of the rows read are above the threshold,
the more lists are read: as many as a plain search for that number of rows reads.
"""

from __future__ import annotations

import numpy as np

from engine.jit import compiled
from indexing.searchers import int8_lists, int8_scan, simd_products
from indexing.searchers.int8_lists import BLOCK_ROWS
from indexing.searchers.int8_scan import (
    MAX_RESCORED,
    MAX_RESCORED_PER_K,
    SPARE_SLOTS,
    _drop_impossible,
    _keep_best,
    _nearest_lists,
    _quantise_query,
    _sort_best_first,
)
from indexing.searchers.simd_products import code_scores, lowest_bit

MAX_ABOVE = 2**16  # rows whose plain scores are kept to count them
jit = compiled(also=(int8_lists.__file__, int8_scan.__file__, simd_products.__file__))


@jit
def search_boosted(query, lists, vectors, lengths, limits, boost, k, scores, rows):
    """Fill plain scores and rows, (k,), best boosted score first; row -1 where there are no more.

    query: (dim,) float32. lists, vectors, lengths: as `lists`, `vectors`, `factors` of `int8_scan.search`. limits:
    per_list (lists,), to_read, recall_k, depth_power, allowed, excluded: a search for n rows reads `to_read` lists, or
    with a filter lists with so many allowed rows, times (n / recall_k) ** depth_power; `excluded`, (m,) int64
    ascending, are rows that are left out. boost: factors (n_rows,), addends (n_rows,) or (0,), and the largest of each.
    """
    dim, columns = len(query), lists[0].shape[1]
    padded, coarse_query = np.zeros(columns, np.float32), np.zeros(columns, np.int16)
    for j in range(dim):
        padded[j] = query[j]
    precision, rounding_bound = _quantise_query(padded, coarse_query)
    n_most = MAX_RESCORED + MAX_RESCORED_PER_K * k
    candidates = (np.empty(n_most, np.float32), np.empty(n_most, np.float32), np.empty(n_most, np.int32))
    n = 0
    if precision > 0:
        n = _scan(coarse_query, padded, precision, rounding_bound, lists, limits, boost, k, candidates)
    best, plain, best_rows = candidates
    order = np.empty(n_most, np.int32)
    for position in range(n):
        row, score = best_rows[position], np.float32(0)
        for j in range(dim):
            score += vectors[row, j] * padded[j]
        plain[position] = score * lengths[row] if len(lengths) else score
        best[position] = _boosted(plain[position], row, boost)
        order[position] = position
    _sort_best_first(best, order, n)
    for position in range(k):
        is_found = position < n
        scores[position] = plain[order[position]] if is_found else np.float32(-np.inf)
        rows[position] = best_rows[order[position]] if is_found else np.int32(-1)


@jit
def _scan(coarse_query, query, precision, rounding_bound, lists, limits, boost, k, candidates):
    """Fill `candidates` with allowed rows that may be among the k best; returns their number."""
    centroids, starts, codes, scales, ids = lists
    per_list, to_read, recall_k, depth_power, allowed, excluded = limits
    (upper, lower, rows), half = candidates, codes.shape[1]
    list_scores = np.empty(len(per_list) + SPARE_SLOTS, np.float32)
    list_numbers, work = np.empty(len(list_scores), np.int32), np.empty(len(rows), np.float32)
    n_lists = _nearest_lists(query, centroids, per_list, len(per_list), list_scores, list_numbers)
    block, above = np.empty(BLOCK_ROWS, np.float32), np.empty(MAX_ABOVE, np.float32)
    n, n_above, full, scale = np.int64(0), np.int64(0), k + SPARE_SLOTS, np.float32(1) / precision
    best, threshold, n_read, needed = np.float32(-np.inf), np.float32(-np.inf), np.float64(0), np.float64(to_read)
    for position in range(n_lists):
        if n_read >= needed:
            if n > k:
                n, best = _drop_impossible(upper, lower, rows, n, k, work)
                threshold, full = _plain_score(best, boost), n + SPARE_SLOTS
            n_above = _count_above(above, n_above, threshold)
            needed = to_read * max(n_above / recall_k, 1.0) ** depth_power
            if n_read >= needed and n_above < MAX_ABOVE and n >= k:
                break
        list_number, start = list_numbers[position], list_scores[position] * precision
        n_read += per_list[list_number] if len(allowed) else 1
        for number in range(starts[list_number], starts[list_number + 1]):
            bits = code_scores(
                coarse_query.ctypes.data,
                codes.ctypes.data + number * half * BLOCK_ROWS * 2,
                2 * half,
                scales.ctypes.data + number * BLOCK_ROWS * 4,
                start,
                rounding_bound,
                threshold * precision,
                block.ctypes.data,
            )
            while bits:
                bit = lowest_bit(bits)
                bits &= bits - np.uint32(1)
                row = ids[number * BLOCK_ROWS + bit]
                if row < 0 or (len(allowed) and not allowed[row]):
                    continue
                if n_above == MAX_ABOVE:
                    n_above = _count_above(above, n_above, threshold)
                if n_above < MAX_ABOVE:
                    above[n_above] = block[bit] * scale
                    n_above += 1
                highest = _boosted(block[bit] * scale, row, boost)
                if highest < best or _is_in(excluded, row):
                    continue
                lowest = (block[bit] - np.float32(2 * rounding_bound) * scales[number, bit]) * scale
                upper[n], lower[n], rows[n] = highest, _boosted(lowest, row, boost), row
                n += 1
                if n == full:
                    n, best = _drop_impossible(upper, lower, rows, n, k, work)
                    if n + SPARE_SLOTS > len(rows):
                        n, _ = _keep_best(upper, lower, rows, n, len(rows) // 2, work)
                    threshold, full = _plain_score(best, boost), n + SPARE_SLOTS
    if n > k:
        n, best = _drop_impossible(upper, lower, rows, n, k, work)
    return n


@jit
def _is_in(ascending, row):
    at = np.searchsorted(ascending, row)
    return at < len(ascending) and ascending[at] == row


@jit
def _boosted(score, row, boost):
    factors, addends, _, _ = boost
    made = score * factors[row] if score > 0 else score / factors[row]
    return made + addends[row] if len(addends) else made


@jit
def _plain_score(boosted, boost):
    """The lowest plain score that may have this boosted score, with the largest factor and addend."""
    _, _, factor, addend = boost
    rest = boosted - addend
    return np.float32(rest / factor if rest > 0 else rest * factor)


@jit
def _count_above(above, n, threshold):
    """Keep the scores of at least `threshold`; returns their number."""
    n_kept = np.int64(0)
    for position in range(n):
        if above[position] >= threshold:
            above[n_kept] = above[position]
            n_kept += 1
    return n_kept
