"""The matrix product that the kernels call: PyTorch's own BLAS where its library shows it, else SciPy's.

Which of them is faster depends on the processor, by up to 3.5 times (an AMD Zen 1: MKL inside PyTorch 32
GFLOP/s a core,
OpenBLAS 9). PyTorch's comes first, so that no network trains slower here than there. Compiled kernels name
the function
and find its address when they are loaded, so the cache on disk holds for either.
"""

import ctypes
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding
import torch
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import get_cython_function_address, intrinsic

SYMBOL = "multilayer_sgemm"


class _Blas:
    """Where sgemm is (Fortran interface, 32-bit integers), and how to hold it at a number of threads."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
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
        set_threads = (
            self.library.MKL_Set_Num_Threads_Local
        )  # of the calling thread only; 0: the global setting
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


BLAS = _Blas()

_INT, _CHAR, _FLOAT = ir.IntType(32), ir.IntType(8), ir.FloatType()
_FUNCTION = ir.FunctionType(
    ir.VoidType(),
    [
        t.as_pointer()
        for t in (_CHAR, _CHAR, _INT, _INT, _INT, _FLOAT, _FLOAT, _INT, _FLOAT, _INT, _FLOAT, _FLOAT, _INT)
    ],
)


@intrinsic
def sgemm(typing_context, trans_a, trans_b, m, n, k, a, a_start, lda, b, b_start, ldb, c, c_start, ldc):
    """C = op(A) op(B) in column order, as BLAS has it; matrices are (flat array, first element, leading
    dimension).

    trans_a, trans_b: 78 ("N") or 84 ("T").
    """
    i = types.int64
    signature = types.void(i, i, i, i, i, a, i, i, b, i, i, c, i, i)

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        def place(value: Any, kind: ir.IntType) -> Any:
            return cgutils.alloca_once_value(builder, builder.trunc(value, kind))

        def first(position: int) -> Any:
            array = context.make_array(signature.args[position])(context, builder, args[position])
            return builder.gep(array.data, [args[position + 1]])

        one, zero = (cgutils.alloca_once_value(builder, ir.Constant(_FLOAT, v)) for v in (1.0, 0.0))
        function = cgutils.get_or_insert_function(builder.module, _FUNCTION, SYMBOL)
        builder.call(
            function,
            [
                *(place(x, _CHAR) for x in args[:2]),
                *(place(x, _INT) for x in args[2:5]),
                one,
                first(5),
                place(args[7], _INT),
                first(8),
                place(args[10], _INT),
                zero,
                first(11),
                place(args[13], _INT),
            ],
        )
        return context.get_dummy_value()

    return signature, generate
