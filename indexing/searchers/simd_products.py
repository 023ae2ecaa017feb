"""Products: of one query with a block of 32 rows at a time, written as vector instructions for compiled loops.

Loops over single rows come out of the compiler four to nine times as slow: their sums are added up across a register
for each row. Here a register holds eight rows, so that nothing has to be, and a row of 64 8-bit numbers takes 1.5 ns.
Every array is given by the address of its first element. Operands are of two dimensions at a time.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from indexing.searchers.int8_lists import TOGETHER

LANES = 8  # of a register of AVX2
GROUPS = TOGETHER // LANES
AVX2 = "+avx2"  # of a machine that has MADD
F32, I8, I16, I32, I64 = ir.FloatType(), ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
FUSED = ("contract",)
MADD = "llvm.x86.avx2.pmadd.wd"  # sums of pairs of 16-bit products, in one instruction
EVEN, ODD = (ir.Constant(ir.VectorType(I32, LANES), list(range(first, 2 * LANES, 2))) for first in (0, 1))


@intrinsic
def code_scores(typing, query, codes, dim, scales, start, more, least, scores):
    """scores (32,) float32 = start + scale x (query . codes + more); the bits of those above `least`.

    query (dim,) int16, codes (dim / 2, 32, 2) int8, scales (32,) float32, `dim` even. Sums are of 32 bits.
    """
    arguments = [types.intp] * 4 + [types.float32, types.int32, types.float32, types.intp]
    return types.uint32(*arguments), _code_scores


def _code_scores(context: Any, build: Any, signature: Any, arguments: Any) -> Any:
    query, codes, dim, scales, start, more, least, scores = arguments
    pairs, rows = build.inttoptr(query, I32.as_pointer()), _pointer(build, codes, I8, 2 * LANES)
    sums = [cgutils.alloca_once_value(build, _all(build, more)) for _ in range(GROUPS)]
    with cgutils.for_range(build, build.lshr(dim, I64(1))) as loop:
        pair = build.bitcast(_all(build, _load(build, pairs, loop.index, 2)), ir.VectorType(I16, 2 * LANES))
        for group, total in enumerate(sums):
            at = build.add(build.mul(loop.index, I64(GROUPS)), I64(group))
            wide = build.sext(_load(build, rows, at, 1), ir.VectorType(I16, 2 * LANES))
            build.store(build.add(build.load(total), _paired(context, build, wide, pair)), total)
    made = [build.sitofp(build.load(total), _of(F32)) for total in sums]
    by = [_load(build, _pointer(build, scales, F32, LANES), I64(group), 4) for group in range(GROUPS)]
    first = _all(build, start)
    made = [build.fadd(build.fmul(one, scale, FUSED), first, FUSED) for one, scale in zip(made, by, strict=True)]
    return _kept(build, made, least, scores)


@intrinsic
def row_scores(typing, query, rows, dim, least, scores):
    """scores (32,) = query (dim,) . rows (dim, 32), all float32; the bits of those above `least`. `dim` is even."""
    return types.uint32(types.intp, types.intp, types.intp, types.float32, types.intp), _row_scores


def _row_scores(context: Any, build: Any, signature: Any, arguments: Any) -> Any:
    query, rows, dim, least, scores = arguments
    numbers, rows = build.inttoptr(query, F32.as_pointer()), _pointer(build, rows, F32, LANES)
    nothing = ir.Constant(_of(F32), [0.0] * LANES)
    sums = [[cgutils.alloca_once_value(build, nothing) for _ in range(GROUPS)] for _ in range(2)]
    with cgutils.for_range(build, build.lshr(dim, I64(1))) as loop:
        for odd, totals in enumerate(sums):  # two chains of sums: one would wait for itself
            column = build.add(build.shl(loop.index, I64(1)), I64(odd))
            number = _all(build, _load(build, numbers, column, 4))
            for group, total in enumerate(totals):
                row = _load(build, rows, build.add(build.mul(column, I64(GROUPS)), I64(group)), 4)
                build.store(build.fadd(build.load(total), build.fmul(row, number, FUSED), FUSED), total)
    made = [build.fadd(build.load(even), build.load(odd)) for even, odd in zip(*sums, strict=True)]
    return _kept(build, made, least, scores)


@intrinsic
def lowest(typing, bits):
    """The number of the lowest bit that is set; one is."""

    def made(context: Any, build: Any, signature: Any, arguments: Any) -> Any:
        return build.zext(build.cttz(arguments[0], ir.Constant(ir.IntType(1), 1)), I64)

    return types.int64(types.uint32), made


def _paired(context: Any, build: Any, left: Any, right: Any) -> Any:
    """(8,) of 32 bits: the products of (16,) of 16 bits, added in pairs."""
    if AVX2 in context.codegen().magic_tuple()[2]:
        known = ir.FunctionType(_of(I32), [left.type, right.type])
        return build.call(cgutils.get_or_insert_function(build.module, known, MADD), [left, right])
    nothing = ir.Constant(left.type, ir.Undefined)
    parts = [
        [build.sext(build.shuffle_vector(each, nothing, half), _of(I32)) for each in (left, right)]
        for half in (EVEN, ODD)
    ]
    return build.add(*(build.mul(*part) for part in parts))


def _kept(build: Any, made: Any, least: Any, scores: Any) -> Any:
    """Writes the scores of every group; the bits of those above `least`."""
    out, floor, bits = _pointer(build, scores, F32, LANES), _all(build, least), I32(0)
    for group, one in enumerate(made):
        build.store(one, build.gep(out, [I64(group)])).align = 4
        above = build.zext(build.bitcast(build.fcmp_ordered(">", one, floor), I8), I32)
        bits = build.or_(bits, build.shl(above, I32(LANES * group)))
    return bits


def _of(kind: ir.Type) -> ir.VectorType:
    return ir.VectorType(kind, LANES)


def _pointer(build: Any, address: Any, kind: ir.Type, lanes: int) -> Any:
    return build.inttoptr(address, ir.VectorType(kind, lanes).as_pointer())


def _load(build: Any, pointer: Any, at: Any, align: int) -> Any:
    made = build.load(build.gep(pointer, [at]))
    made.align = align
    return made


def _all(build: Any, value: Any) -> Any:
    """The value in every lane."""
    nothing = ir.Constant(_of(value.type), ir.Undefined)
    return build.shuffle_vector(
        build.insert_element(nothing, value, I32(0)), nothing, ir.Constant(_of(I32), [0] * LANES)
    )
