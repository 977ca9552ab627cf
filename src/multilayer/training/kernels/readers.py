"""Reads an `nn.Module` into a `Plan`, layer by layer, or says in words what the kernels do not know.

It reads what `forward` runs at the moment, as every module is set: one in `eval()` is read as such. To teach
the kernels a layer, write a function of (builder, module, name) and enter it in `READERS`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from multilayer.nn.blocks import Residual
from multilayer.nn.embeddings import (
    CategoryEmbedding,
    PeriodicEmbedding,
    PiecewiseLinearEmbedding,
    TableEmbedding,
)
from multilayer.nn.monotone import SignedLinear
from multilayer.nn.resnet import ResNet
from multilayer.training.kernels import activations, embeddings, layers
from multilayer.training.kernels import loop as k
from multilayer.training.kernels.plain import foreign_to_module, foreign_to_process, foreign_to_tensor
from multilayer.training.kernels.plan import (
    ALIGN,
    Kernels,
    Plan,
    PlanBuilder,
    Reader,
    UnknownToKernels,
    aligned,
)


def read_plan(net: nn.Module) -> Plan:
    """The plan of a module. Nothing in the module is changed.

    Raises:
        UnknownToKernels: a layer, an option or a tensor that the kernels do not know.

    >>> plan = read_plan(nn.Sequential(nn.Linear(5, 2), nn.ReLU(), nn.BatchNorm1d(2)))
    >>> len(plan.ops), plan.d_in, plan.d_out
    (2, 5, 2)
    """
    _check_plain(net)
    builder = PlanBuilder(READERS, _input_width(net), _widest(net))
    builder.read(net, type(net).__name__)
    return builder.finish()


def _check_plain(net: nn.Module) -> None:
    """Refuse whatever would have PyTorch do something else than the known layers say."""
    reason = foreign_to_process()
    if reason is not None:
        raise UnknownToKernels(reason)
    for name, module in net.named_modules():
        if type(module) in _KNOWN and (reason := foreign_to_module(module)) is not None:
            whole = ".".join([type(net).__name__, *([name] if name else [])])
            raise UnknownToKernels(f"layer {whole} ({type(module).__name__}) {reason}")
    seen: dict[int, str] = {}
    places: list[tuple[int, int, str]] = []
    for name, tensor in [
        *net.named_parameters(remove_duplicate=False),
        *net.named_buffers(remove_duplicate=False),
    ]:
        if id(tensor) in seen:
            kind = "parameter" if isinstance(tensor, nn.Parameter) else "buffer"
            raise UnknownToKernels(f"{kind} {name} is shared with {seen[id(tensor)]}.")
        seen[id(tensor)] = name
        if (reason := foreign_to_tensor(tensor)) is not None:
            raise UnknownToKernels(f"{name} {reason}")
        if tensor.numel():
            places.append((tensor.data_ptr(), tensor.numel() * tensor.element_size(), name))
    for (start, size, name), (next_start, _, next_name) in pairwise(sorted(places)):
        if next_start < start + size:
            raise UnknownToKernels(f"{name} and {next_name} share memory.")


def _input_width(net: nn.Module) -> int:
    """Columns that the first layer with a say in it takes."""
    for module in net.modules():
        if type(module) in _WIDTHS:
            return int(_WIDTHS[type(module)](module))
    for name, module in net.named_modules():
        if type(module) not in READERS:
            whole = ".".join([type(net).__name__, *([name] if name else [])])
            raise UnknownToKernels(f"the kernels do not know the layer {whole} ({type(module).__name__}).")
    raise UnknownToKernels("no layer of the network says how many inputs it takes.")


def _widest(net: nn.Module) -> int:
    """At least the length of every bias and norm weight in the network."""
    return max(max((p.shape[0] for p in net.parameters() if p.ndim), default=1), _any_norm_width(net))


def _any_norm_width(net: nn.Module) -> int:
    widths = [getattr(m, "num_features", 1) for m in net.modules()]
    widths += [m.normalized_shape[-1] for m in net.modules() if isinstance(m, nn.LayerNorm)]
    return max(widths)


def _read_sequential(builder: PlanBuilder, module: Any, name: str) -> None:
    for child, layer in module._modules.items():  # named_children leaves out what comes a second time
        builder.read(layer, f"{name}.{child}")


def _read_resnet(builder: PlanBuilder, module: Any, name: str) -> None:
    builder.read(module.layers, f"{name}.layers")


def _read_relu(builder: PlanBuilder, module: Any, name: str) -> None:
    """Behind a Linear it goes with the bias, in one pass; elsewhere it is a layer of its own."""
    if builder.ops and builder.kernels[-1] is layers.LINEAR and builder.ops[-1][k.AUX] != 1:
        builder.ops[-1][k.AUX] = 1
    else:
        builder.add(activations.RELU)


def _read_linear(builder: PlanBuilder, module: Any, name: str) -> None:
    if module.weight.ndim != 2 or not module.weight.numel():
        raise UnknownToKernels(f"the kernels do not know a Linear without inputs or outputs; {name} is one.")
    d_out, d_in = module.weight.shape  # what forward goes by, whatever in_features says
    builder.expect(d_in, name)
    weight, weight_trains = builder.tensor(f"{name}.weight", module.weight, (d_out, d_in))
    bias, bias_trains = builder.tensor(f"{name}.bias", module.bias, (d_out,))
    builder.add(
        layers.LINEAR,
        d_out=d_out,
        trains=weight_trains or bias_trains,
        p0=weight,
        p1=bias,
        aux=-1 if module.bias is None else 0,
    )


def _read_signed_linear(builder: PlanBuilder, module: Any, name: str) -> None:
    weight = builder.flat_size
    _read_linear(builder, module, name)
    builder.tensor(f"{name}.sign", module.sign, tuple(module.weight.shape))
    builder.signs[weight] = module.sign


def _reader_of_activation(kind: Kernels, *names: str) -> Reader:
    """A reader for an activation whose options have the given names."""

    def read(builder: PlanBuilder, module: Any, name: str) -> None:
        options = [float(getattr(module, option)) for option in names] + [0.0, 0.0]
        builder.add(kind, reals=(options[0], options[1]))

    return read


def _read_prelu(builder: PlanBuilder, module: Any, name: str) -> None:
    n_slopes = module.weight.numel()
    if n_slopes not in (1, builder.d):
        raise UnknownToKernels(f"{name} has {n_slopes} slopes for {builder.d} columns.")
    slope, trains = builder.tensor(f"{name}.weight", module.weight, (n_slopes,))
    builder.add(activations.PRELU, trains=trains, p0=slope, aux=int(n_slopes > 1))


def _read_gelu(builder: PlanBuilder, module: Any, name: str) -> None:
    builder.add(activations.GELU_TANH if module.approximate == "tanh" else activations.GELU)


def _read_identity(builder: PlanBuilder, module: Any, name: str) -> None:
    """Nothing to do."""


def _read_flatten(builder: PlanBuilder, module: Any, name: str) -> None:
    if module.start_dim == 1 and module.end_dim == -1:
        return  # rows come flat already
    if module.start_dim == 0 and module.end_dim == -1 and builder.d == 1 and builder.ops:
        builder.flattens = True
        return
    raise UnknownToKernels(f"{name} flattens other axes than those of one row.")


def _read_dropout(builder: PlanBuilder, module: Any, name: str) -> None:
    if module.p > 0 and module.training:
        builder.add(layers.DROPOUT, reals=(float(module.p), 0.0))


def _read_batch_norm(builder: PlanBuilder, module: Any, name: str) -> None:
    builder.expect(module.num_features, name)
    d, has_running, counter = (
        (module.num_features,),
        module.running_mean is not None,
        module.num_batches_tracked,
    )
    if has_running != bool(module.track_running_stats) or has_running != (module.running_var is not None):
        raise UnknownToKernels(f"{name} has running statistics that it does not keep up to date.")
    if has_running and (counter is None or counter.dtype != torch.int64 or counter.ndim):
        raise UnknownToKernels(f"{name} does not count its batches.")
    weight, weight_trains = builder.tensor(f"{name}.weight", module.weight, d, builder.ones)
    bias, bias_trains = builder.tensor(f"{name}.bias", module.bias, d)
    mean, _ = builder.tensor(f"{name}.running_mean", module.running_mean, d)
    var, _ = builder.tensor(f"{name}.running_var", module.running_var, d)
    if not has_running:
        builder.mixes_rows = "always"
    else:
        builder.counters.append((counter, len(builder.ops)))
        if module.training and builder.mixes_rows == "never":
            builder.mixes_rows = "training"
    builder.add(
        layers.BATCH_NORM,
        trains=weight_trains or bias_trains,
        p0=weight,
        p1=bias,
        b0=mean,
        b1=var,
        aux=int(has_running),
        aux3=int(has_running and not module.training),
        stat=builder.stat_size,
        reals=(float(module.eps), -1.0 if module.momentum is None else float(module.momentum)),
    )
    builder.stat_size += 2 * aligned(module.num_features)


def _read_layer_norm(builder: PlanBuilder, module: Any, name: str) -> None:
    if len(module.normalized_shape) != 1:
        raise UnknownToKernels(
            f"{name} normalises over {len(module.normalized_shape)} axes; the kernels know one."
        )
    builder.expect(module.normalized_shape[0], name)
    weight, weight_trains = builder.tensor(f"{name}.weight", module.weight, (builder.d,), builder.ones)
    bias, bias_trains = builder.tensor(f"{name}.bias", module.bias, (builder.d,))
    builder.add(
        layers.LAYER_NORM,
        trains=weight_trains or bias_trains,
        p0=weight,
        p1=bias,
        stat=builder.new_value(2),
        reals=(float(module.eps), 0.0),
    )


def _read_residual(builder: PlanBuilder, module: Any, name: str) -> None:
    if any(getattr(inner, "inplace", False) for inner in module.inner.modules()):
        raise UnknownToKernels(
            f"{name} holds a layer with inplace=True, which may change what goes around it."
        )
    source, d, skip = builder.value, builder.d, builder.skip_width
    builder.skip_width += d
    builder.add(layers.FORK, aux=skip, keep_value=True)
    builder.read(module.inner, f"{name}.inner")
    if builder.d != d:
        raise UnknownToKernels(f"{name} adds {d} inputs to {builder.d} outputs.")
    builder.add(layers.JOIN, aux=skip, aux2=source)


def _read_periodic(builder: PlanBuilder, module: Any, name: str) -> None:
    """Alone in front of a network: all columns embedded, none kept."""
    _check_is_first(builder, name)
    n_features = module.frequency.shape[0]
    builder.expect(n_features, name)
    _add_periodic(
        builder, module, name, np.arange(n_features), module.weight[0, 0].numel() * n_features, 0, False
    )


def _add_periodic(
    builder: PlanBuilder,
    module: Any,
    name: str,
    columns: NDArray[np.int64],
    d_out: int,
    first: int,
    keep: bool,
) -> None:
    n_features, n_frequencies, d_embedding = module.weight.shape
    waves = (n_features, n_frequencies)
    frequency, a = builder.tensor(f"{name}.frequency", module.frequency, waves)
    phase, b = builder.tensor(f"{name}.phase", module.phase, waves)
    weight, c = builder.tensor(f"{name}.weight", module.weight, (*waves, d_embedding))
    scratch = builder.new_value(n_features * n_frequencies + 2 + d_embedding)
    start = len(builder.ints)
    builder.ints += [n_features, n_frequencies, d_embedding, first, *columns.tolist()]
    builder.add(
        embeddings.PERIODIC,
        d_out=d_out,
        trains=a or b or c,
        p0=frequency,
        p1=phase,
        b0=weight,
        stat=scratch,
        aux=start,
        keep_value=keep,
    )


def _read_piecewise(builder: PlanBuilder, module: Any, name: str) -> None:
    """Alone in front of a network: all columns embedded, none kept."""
    _check_is_first(builder, name)
    n_features, d_embedding = module.slope.shape
    builder.expect(n_features, name)
    _add_piecewise(builder, module, name, np.arange(n_features), n_features * d_embedding, 0)


def _add_piecewise(
    builder: PlanBuilder, module: Any, name: str, columns: NDArray[np.int64], d_out: int, first: int
) -> None:
    n_features, n_bins, d_embedding = module.weight.shape
    curves = (n_features, d_embedding)
    edges, _ = builder.tensor(f"{name}.edges", module.edges, (n_features, n_bins + 1))
    slope, a = builder.tensor(f"{name}.slope", module.slope, curves)
    bias, b = builder.tensor(f"{name}.bias", module.bias, curves)
    weight, c = builder.tensor(f"{name}.weight", module.weight, (n_features, n_bins, d_embedding))
    running_sums = -(-n_bins * d_embedding // ALIGN)  # a value has room for at least ALIGN rows
    start = len(builder.ints)
    builder.ints += [n_features, n_bins, d_embedding, first, *columns.tolist()]
    builder.add(
        embeddings.PIECEWISE,
        d_out=d_out,
        trains=a or b or c,
        p0=edges,
        p1=slope,
        b0=bias,
        b1=weight,
        stat=builder.new_value(2 * n_features + running_sums),
        aux=start,
    )


def _read_table_embedding(builder: PlanBuilder, module: Any, name: str) -> None:
    """One op for each part, all writing to their columns of one output; those without parameters first."""
    _check_is_first(builder, name)
    builder.expect(module.n_columns, name)
    _check_parts(module, name)
    kept = module.kept_columns.tolist()
    first_wave = len(kept)
    first_curve = first_wave + (0 if module.periodic is None else module.periodic.weight[:, 0].numel())
    first_code = first_curve + (0 if module.piecewise is None else module.piecewise.slope.numel())
    parts = _TableParts(builder, builder.new_value(module.d_out), module.d_out)
    is_all = kept == [*range(module.n_num)]
    parts.add(embeddings.SELECT, aux=len(kept), aux2=-1 if is_all else len(builder.ints))
    builder.ints += kept
    lookups = [] if module.category is None else _add_one_hots(parts, module, first_code)
    if module.periodic is not None:
        columns = module.periodic_columns.numpy()
        with parts.next():
            _add_periodic(
                builder, module.periodic, f"{name}.periodic", columns, module.d_out, first_wave, False
            )
    if module.piecewise is not None:
        columns = module.piecewise_columns.numpy()
        with parts.next():
            _add_piecewise(builder, module.piecewise, f"{name}.piecewise", columns, module.d_out, first_curve)
    for column, start, table in lookups:
        _add_lookup(parts, table, column, start, name)
    builder.value, builder.d = parts.out, module.d_out


def _check_parts(module: Any, name: str) -> None:
    """Refuse an embedding of which a part is of another class than ours."""
    known = {
        "periodic": PeriodicEmbedding,
        "piecewise": PiecewiseLinearEmbedding,
        "category": CategoryEmbedding,
    }
    for part, kind in known.items():
        if (found := getattr(module, part)) is not None and type(found) is not kind:
            raise UnknownToKernels(
                f"the kernels do not know the layer {name}.{part} ({type(found).__name__})."
            )


class _TableParts:
    """Ops that all read the network's input and write to columns of one output."""

    def __init__(self, builder: PlanBuilder, out: int, d_out: int) -> None:
        self.builder, self.out, self.d_out = builder, out, d_out

    @contextmanager
    def next(self) -> Iterator[None]:
        """The op that is added in the block is one of them."""
        self.builder.value, self.builder.d = 0, self.builder.d_in
        yield
        self.builder.ops[-1][k.V_OUT] = self.out

    def add(self, kernels: Kernels, *, trains: bool = False, **fields: int) -> None:
        with self.next():
            self.builder.add(kernels, d_out=self.d_out, trains=trains, keep_value=True, **fields)  # type: ignore[arg-type]


def _add_one_hots(parts: _TableParts, module: Any, first: int) -> list[tuple[int, int, Any]]:
    """Add the categories that become columns of 0 and 1; of the others column, first output and table.

    first: output of the first category
    """
    lookups, tables = [], iter(module.category.tables)
    codes = zip(module.category.cardinalities, module.category.one_hot, strict=True)
    for column, (n_codes, is_hot) in enumerate(codes, start=module.n_num):
        parts.builder.code_ranges[column] = n_codes
        if is_hot:
            parts.add(embeddings.ONE_HOT, aux=column, aux2=n_codes, stat=first)
            first += n_codes
        else:
            table = next(tables)
            lookups.append((column, first, table))
            first += table.embedding_dim
    return lookups


def _add_lookup(parts: _TableParts, table: Any, column: int, start: int, name: str) -> None:
    """Add a category whose codes are looked up in a table; start: its first output."""
    is_plain = type(table) is nn.Embedding and table.max_norm is None and table.padding_idx is None
    if not is_plain or table.sparse or table.scale_grad_by_freq:
        raise UnknownToKernels(f"{name} has an nn.Embedding with options that the kernels do not know.")
    shape = (table.num_embeddings, table.embedding_dim)
    weight, trains = parts.builder.tensor(f"{name}.table_of_column_{column}", table.weight, shape)
    parts.add(
        embeddings.LOOK_UP,
        trains=trains,
        p0=weight,
        aux=column,
        aux2=table.num_embeddings,
        aux3=table.embedding_dim,
        stat=start,
    )


def _check_is_first(builder: PlanBuilder, name: str) -> None:
    if builder.ops:
        raise UnknownToKernels(
            f"{name} embeds columns behind another layer; the kernels know it as first layer only."
        )


_WIDTHS: dict[type[nn.Module], Callable[[Any], int]] = {
    nn.Linear: lambda m: m.weight.shape[-1],
    SignedLinear: lambda m: m.weight.shape[-1],
    nn.BatchNorm1d: lambda m: m.num_features,
    nn.LayerNorm: lambda m: m.normalized_shape[-1],
    PeriodicEmbedding: lambda m: m.frequency.shape[0],
    PiecewiseLinearEmbedding: lambda m: m.slope.shape[0],
    TableEmbedding: lambda m: m.n_columns,
}


READERS: dict[type[nn.Module], Reader] = {
    nn.BatchNorm1d: _read_batch_norm,
    nn.Dropout: _read_dropout,
    nn.ELU: _reader_of_activation(activations.ELU, "alpha"),
    nn.Flatten: _read_flatten,
    nn.GELU: _read_gelu,
    nn.Identity: _read_identity,
    nn.LayerNorm: _read_layer_norm,
    nn.LeakyReLU: _reader_of_activation(activations.LEAKY_RELU, "negative_slope"),
    nn.Linear: _read_linear,
    nn.Mish: _reader_of_activation(activations.MISH),
    nn.PReLU: _read_prelu,
    nn.ReLU: _read_relu,
    nn.SELU: _reader_of_activation(activations.SELU),
    SignedLinear: _read_signed_linear,
    nn.Sequential: _read_sequential,
    nn.SiLU: _reader_of_activation(activations.SILU),
    nn.Sigmoid: _reader_of_activation(activations.SIGMOID),
    nn.Softplus: _reader_of_activation(activations.SOFTPLUS, "beta", "threshold"),
    nn.Tanh: _reader_of_activation(activations.TANH),
    PeriodicEmbedding: _read_periodic,
    PiecewiseLinearEmbedding: _read_piecewise,
    ResNet: _read_resnet,
    Residual: _read_residual,
    TableEmbedding: _read_table_embedding,
}


# What may stand in a network that the kernels know: `foreign_to_module` looks at all of it
_KNOWN = {*READERS, CategoryEmbedding, nn.Embedding, nn.ModuleList}
