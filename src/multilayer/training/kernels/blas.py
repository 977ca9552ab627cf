"""The matrix product of a BLAS library: for a network that is to use several threads, and for processors
without AVX2, such as ARM's.

PyTorch's own library where it shows it (MKL in builds for Linux and x86), else SciPy's. Compiled code names
the function and finds its address when it is loaded, so the cache on disk holds for either.
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

import llvmlite.binding
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic

from multilayer.training.forked import Lock, check_threads
from multilayer.training.kernels.matmul import HAS_VECTORS, symmetric_tiles, tiles

SYMBOL = "multilayer_sgemm"
N, T = 78, 84  # letters for a matrix as it stands, and transposed


class Library:
    """Where sgemm is (Fortran interface, 32-bit integers), and how to hold it at a number of threads."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.users = 0
        self.limits: Any = None
        self.controller: Any = None
        self.library = _torch_library()
        if self.library is not None:
            self.name = "torch"
            address = ctypes.cast(self.library.sgemm_, ctypes.c_void_p).value
        else:
            self.name = "scipy"
            address = get_cython_function_address("scipy.linalg.cython_blas", "sgemm")
        llvmlite.binding.add_symbol(SYMBOL, address)

    def limit(self, n_threads: int) -> Callable[[], None]:
        """Returns what restores the setting before."""
        if self.library is None:
            self._enter(n_threads)
            return self._leave
        set_threads = self.library.MKL_Set_Num_Threads_Local  # of the calling thread; 0: the global setting
        before = set_threads(n_threads)
        return lambda: set_threads(before) and None

    def _enter(self, n_threads: int) -> None:
        """The first to come sets OpenBLAS, for the whole process; the last to go restores it."""
        from threadpoolctl import ThreadpoolController

        with self.lock:
            self.users += 1
            if self.users == 1:
                self.controller = self.controller or ThreadpoolController().select(user_api="blas")
                self.limits = self.controller.limit(limits=n_threads)

    def _leave(self) -> None:
        with self.lock:
            self.users -= 1
            if self.users == 0:
                self.limits.restore_original_limits()


def _torch_library() -> ctypes.CDLL | None:
    """PyTorch's library, if it shows MKL's sgemm (Linux and x86 builds do)."""
    for path in Path(torch.__file__).parent.joinpath("lib").glob("libtorch_cpu.*"):
        try:
            library = ctypes.CDLL(str(path))
            _ = library.sgemm_, library.MKL_Set_Num_Threads_Local
        except (OSError, AttributeError):
            continue
        return library
    return None


_LOOKING = Lock()
_found: list[Library] = []


def library() -> Library:
    """The one of this process, looked for when it is first needed."""
    with _LOOKING:
        if not _found:
            _found.append(Library())
    return _found[0]


@contextmanager
def blas_threads(n: int) -> Iterator[None]:
    """BLAS on n threads for calls from this thread; the setting of others, and of everything else, stays."""
    check_threads(n)
    restore = library().limit(n)
    try:
        yield
    finally:
        restore()


_INT, _CHAR, _FLOAT = ir.IntType(32), ir.IntType(8), ir.FloatType()
_FUNCTION = ir.FunctionType(
    ir.VoidType(),
    [
        t.as_pointer()
        for t in (_CHAR, _CHAR, _INT, _INT, _INT, _FLOAT, _FLOAT, _INT, _FLOAT, _INT, _FLOAT, _FLOAT, _INT)
    ],
)


@intrinsic
def _sgemm(typing_context, trans_a, trans_b, m, n, k, a, lda, b, ldb, c, ldc):
    """C = op(A) op(B) in column order, as BLAS has it; trans_a, trans_b: 78 ("N") or 84 ("T")."""
    i = types.int64
    signature = types.void(i, i, i, i, i, a, i, b, i, c, i)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def place(value: Any, kind: ir.IntType) -> Any:
            return cgutils.alloca_once_value(builder, builder.trunc(value, kind))

        one, zero = (cgutils.alloca_once_value(builder, ir.Constant(_FLOAT, v)) for v in (1.0, 0.0))
        function = cgutils.get_or_insert_function(builder.module, _FUNCTION, SYMBOL)
        letters, sizes = (place(x, _CHAR) for x in args[:2]), (place(x, _INT) for x in args[2:5])
        lda, ldb, ldc = (place(args[position], _INT) for position in (6, 8, 10))
        a, b, c = args[5], args[7], args[9]
        builder.call(function, [*letters, *sizes, one, a, lda, b, ldb, zero, c, ldc])
        return context.get_dummy_value()

    return signature, generate


def blas(rows, columns, depth, left, left_row, left_k, right, right_k, right_column, out, ld):
    """As `matmul.tiles`; of each matrix one of the two steps must be 1.

    BLAS looks at a step over a single row or column, too, and refuses a short one.
    """
    trans_a, lda = (N, max(right_k, columns)) if right_column == 1 else (T, max(right_column, depth))
    trans_b, ldb = (N, max(left_row, depth)) if left_k == 1 else (T, max(left_k, rows))
    _sgemm(trans_a, trans_b, columns, rows, depth, right, lda, left, ldb, out, ld)


def product_for(n_threads: int, *, symmetric: bool = False) -> Callable[..., None]:
    """`tiles` for one thread, where the processor has the vectors for it; else `blas`, ready to be called.

    symmetric: whether the product is; see `symmetric_tiles`
    """
    if n_threads == 1 and HAS_VECTORS:
        return symmetric_tiles if symmetric else tiles
    library()
    return blas


def product_threads(n: int) -> AbstractContextManager[None]:
    """So many threads for what `product_for` gives; `tiles` has one anyway, and leaves BLAS alone."""
    return blas_threads(n) if product_for(n) is blas else nullcontext()
