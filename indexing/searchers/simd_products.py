"""Products of one query with a block of 32 rows, written as vector instructions (LLVM) for compiled loops.

Loops over single rows compile to code that is four to nine times slower, because it adds up a register for each row.
Here a register holds eight rows, which needs no such sum; a row of 64 8-bit numbers takes 1.5 ns. Arrays are passed as
the address of their first element. Two dimensions are processed at a time.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from indexing.searchers.int8_lists import BLOCK_ROWS

LANES = 8  # float32 numbers in an AVX2 register
GROUPS = BLOCK_ROWS // LANES
AVX2 = "+avx2"  # CPU feature that provides MADD
F32, I8, I16, I32, I64 = ir.FloatType(), ir.IntType(8), ir.IntType(16), ir.IntType(32), ir.IntType(64)
FUSED = ("contract",)
MADD = "llvm.x86.avx2.pmadd.wd"  # multiplies 16-bit numbers and adds pairs of products, in one instruction
EVEN, ODD = (ir.Constant(ir.VectorType(I32, LANES), list(range(parity, 2 * LANES, 2))) for parity in (0, 1))


@intrinsic
def code_scores(typing, query, codes, dim, scales, start, offset, threshold, scores):
    """Fill scores (32,) float32 = start + scale x (query . codes + offset); returns a bit per score > `threshold`.

    query (dim,) int16, codes (dim / 2, 32, 2) int8, scales (32,) float32; `dim` is even. Sums have 32 bits.
    """
    arguments = [types.intp] * 4 + [types.float32, types.int32, types.float32, types.intp]
    return types.uint32(*arguments), _code_scores


def _code_scores(context: Any, build: Any, signature: Any, arguments: Any) -> Any:
    query, codes, dim, scales, start, offset, threshold, scores = arguments
    pairs, rows = build.inttoptr(query, I32.as_pointer()), _pointer(build, codes, I8, 2 * LANES)
    sums = [cgutils.alloca_once_value(build, _broadcast(build, offset)) for _ in range(GROUPS)]
    with cgutils.for_range(build, build.lshr(dim, I64(1))) as loop:
        pair = build.bitcast(_broadcast(build, _load(build, pairs, loop.index, 2)), ir.VectorType(I16, 2 * LANES))
        for group, group_sum in enumerate(sums):
            index = build.add(build.mul(loop.index, I64(GROUPS)), I64(group))
            codes_16 = build.sext(_load(build, rows, index, 1), ir.VectorType(I16, 2 * LANES))
            build.store(
                build.add(build.load(group_sum), _multiply_add_pairs(context, build, codes_16, pair)), group_sum
            )
    result = [build.sitofp(build.load(group_sum), _vector_type(F32)) for group_sum in sums]
    scale_vectors = [_load(build, _pointer(build, scales, F32, LANES), I64(group), 4) for group in range(GROUPS)]
    start_vector = _broadcast(build, start)
    result = [
        build.fadd(build.fmul(group_scores, scale, FUSED), start_vector, FUSED)
        for group_scores, scale in zip(result, scale_vectors, strict=True)
    ]
    return _store_and_compare(build, result, threshold, scores)


@intrinsic
def row_scores(typing, query, rows, dim, threshold, scores):
    """Fill scores (32,) = query (dim,) . rows (dim, 32), all float32; returns a bit for each score > `threshold`.

    `dim` is even.
    """
    return types.uint32(types.intp, types.intp, types.intp, types.float32, types.intp), _row_scores


def _row_scores(context: Any, build: Any, signature: Any, arguments: Any) -> Any:
    query, rows, dim, threshold, scores = arguments
    numbers, rows = build.inttoptr(query, F32.as_pointer()), _pointer(build, rows, F32, LANES)
    zero = ir.Constant(_vector_type(F32), [0.0] * LANES)
    sums = [[cgutils.alloca_once_value(build, zero) for _ in range(GROUPS)] for _ in range(2)]
    with cgutils.for_range(build, build.lshr(dim, I64(1))) as loop:
        for odd, totals in enumerate(sums):  # two independent chains of additions hide their latency
            column = build.add(build.shl(loop.index, I64(1)), I64(odd))
            number = _broadcast(build, _load(build, numbers, column, 4))
            for group, group_sum in enumerate(totals):
                row = _load(build, rows, build.add(build.mul(column, I64(GROUPS)), I64(group)), 4)
                build.store(build.fadd(build.load(group_sum), build.fmul(row, number, FUSED), FUSED), group_sum)
    result = [build.fadd(build.load(even), build.load(odd)) for even, odd in zip(*sums, strict=True)]
    return _store_and_compare(build, result, threshold, scores)


@intrinsic
def lowest_bit(typing, bits):
    """The number of the lowest bit that is set; at least one bit must be set."""

    def generate(context: Any, build: Any, signature: Any, arguments: Any) -> Any:
        return build.zext(build.cttz(arguments[0], ir.Constant(ir.IntType(1), 1)), I64)

    return types.int64(types.uint32), generate


def _multiply_add_pairs(context: Any, build: Any, left: Any, right: Any) -> Any:
    """(8,) 32-bit sums of pairs of products of (16,) 16-bit numbers."""
    if AVX2 in context.codegen().magic_tuple()[2]:
        signature_of_madd = ir.FunctionType(_vector_type(I32), [left.type, right.type])
        return build.call(cgutils.get_or_insert_function(build.module, signature_of_madd, MADD), [left, right])
    undefined = ir.Constant(left.type, ir.Undefined)
    parts = [
        [build.sext(build.shuffle_vector(each, undefined, half), _vector_type(I32)) for each in (left, right)]
        for half in (EVEN, ODD)
    ]
    return build.add(*(build.mul(*part) for part in parts))


def _store_and_compare(build: Any, result: Any, threshold: Any, scores: Any) -> Any:
    """Store the scores of all groups; returns a bit for each score > `threshold`."""
    out, floor, bits = _pointer(build, scores, F32, LANES), _broadcast(build, threshold), I32(0)
    for group, group_scores in enumerate(result):
        build.store(group_scores, build.gep(out, [I64(group)])).align = 4
        above = build.zext(build.bitcast(build.fcmp_ordered(">", group_scores, floor), I8), I32)
        bits = build.or_(bits, build.shl(above, I32(LANES * group)))
    return bits


def _vector_type(kind: ir.Type) -> ir.VectorType:
    return ir.VectorType(kind, LANES)


def _pointer(build: Any, address: Any, kind: ir.Type, lanes: int) -> Any:
    return build.inttoptr(address, ir.VectorType(kind, lanes).as_pointer())


def _load(build: Any, pointer: Any, index: Any, align: int) -> Any:
    result = build.load(build.gep(pointer, [index]))
    result.align = align
    return result


def _broadcast(build: Any, value: Any) -> Any:
    """The value in every lane."""
    undefined, lanes = ir.Constant(_vector_type(value.type), ir.Undefined), ir.Constant(_vector_type(I32), [0] * LANES)
    return build.shuffle_vector(build.insert_element(undefined, value, I32(0)), undefined, lanes)
