"""Positions of set bits in 64-bit words, for use inside kernels: one machine instruction each.

NumPy has no such function, and numba reaches LLVM's through an intrinsic only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from llvmlite import ir  # type: ignore[import-untyped]
from numba import types
from numba.extending import intrinsic


@intrinsic
def _trailing_zeros(typing_context: Any, word: Any) -> Any:  # noqa: ARG001
    """Number of zeros below the lowest set bit of a uint64; undefined for 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.cttz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


@intrinsic
def _leading_zeros(typing_context: Any, word: Any) -> Any:  # noqa: ARG001
    """Number of zeros above the highest set bit of a uint64; undefined for 0."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:  # noqa: ARG001
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), generate


# numba passes the typing context itself: a kernel calls them with the word only.
trailing_zeros = cast("Callable[[Any], int]", _trailing_zeros)
leading_zeros = cast("Callable[[Any], int]", _leading_zeros)
