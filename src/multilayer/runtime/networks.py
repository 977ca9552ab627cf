"""From what a model file holds of a network, JSON and arrays, to the steps of its prediction. NumPy alone."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from multilayer.file_values import need
from multilayer.runtime.network_steps import (
    ACTIVATIONS,
    Activation,
    Add,
    Affine,
    Columns,
    Concatenate,
    Cosine,
    LayerNorm,
    Linear,
    LinearOfEach,
    LogMeanExp,
    LogSoftmax,
    Lookup,
    Mean,
    NetworkBuilder,
    NetworkSteps,
    PReLU,
    Ramp,
    float32,
)

Doubles = NDArray[np.float64]

BATCH_NORM_EPS = 1e-5
MOST_ONE_HOT = 10  # codes of a column up to which it is one-hot; TabM has no other columns
D_CATEGORY = 8  # numbers that stand for a category of more codes
RISING, FALLING, FREE, UNUSED = 1, -1, 0, 2  # how an output may depend on an input
FREE_SHARE = 0.5  # of the units of a monotone network that depend on free inputs alone


def network_steps(config: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> NetworkSteps:
    """The steps of one trained network.

    Args:
        config: the JSON of its `NetworkConfig`, checked: what the network is, without its weights.
        arrays: its weights by name, as a model file has them without "network.0." and the like.

    Raises:
        ValueError: arrays are absent, too many, or of another shape or type than the JSON says.
    """
    read, build = _Read(arrays), NetworkBuilder()
    architecture = config.get("architecture", "mlp")
    need(architecture in ARCHITECTURES, f"there is no architecture {architecture!r}")
    ARCHITECTURES[architecture](config, read, build)
    read.finish()
    return build.build()


class _Read:
    """Hands out the arrays of a network, each once, and checked: type, shape, finite."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self._arrays = dict(arrays)

    def __call__(self, name: str, *shape: int) -> Doubles:
        """Numbers of this shape, in float64, in which weights are put together before they are rounded."""
        array = self._take(name, "float32", shape)
        need(np.isfinite(array).all(), f"{name} is not finite")
        return array.astype(np.float64)

    def width(self, name: str) -> int:
        """The last axis of an array, before it is taken."""
        need(name in self._arrays and self._arrays[name].ndim > 0, f"weights are absent: {name}")
        return int(self._arrays[name].shape[-1])

    def whole(self, name: str, *shape: int) -> NDArray[np.int64]:
        """Whole numbers of this shape."""
        return self._take(name, "int64", shape)

    def length(self, name: str) -> int:
        """The first axis of an array, before it is taken."""
        need(name in self._arrays and self._arrays[name].ndim > 0, f"weights are absent: {name}")
        return len(self._arrays[name])

    def finish(self) -> None:
        """Refuse arrays that no layer takes."""
        need(not self._arrays, f"weights are too many: {', '.join(sorted(self._arrays)[:3])}")

    def _take(self, name: str, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
        need(name in self._arrays, f"weights are absent: {name}")
        array = self._arrays.pop(name)
        found, wanted = (array.dtype.name, array.shape), (dtype, shape)
        need(found == wanted, f"size mismatch for {name}: {found} in the file, {wanted} needed")
        return array


@dataclass(frozen=True)
class _Value:
    """A place among the nodes, how wide its value is, and an affine map that is still to be done to it."""

    place: int
    width: int
    scale: Doubles | None = None
    shift: Doubles | None = None


def _linear(build: NetworkBuilder, x: _Value, weight: Doubles, bias: Doubles) -> _Value:
    """W x + b; what was still to be done to x goes into W and b."""
    if x.shift is not None:
        bias = bias + weight @ x.shift
    if x.scale is not None:
        weight = weight * x.scale
    return _Value(build.add(Linear(float32(weight), float32(bias)), x.place), len(weight))


def _read_linear(read: _Read, build: NetworkBuilder, x: _Value, name: str, d_out: int) -> _Value:
    weight, bias = read(f"{name}.weight", d_out, x.width), read(f"{name}.bias", d_out)
    return _linear(build, x, weight, bias)


def _settled(build: NetworkBuilder, x: _Value) -> _Value:
    """The value with all done to it."""
    if x.scale is None and x.shift is None:
        return x
    scale = np.ones(x.width) if x.scale is None else x.scale
    shift = np.zeros(x.width) if x.shift is None else x.shift
    return _Value(build.add(Affine(float32(scale), float32(shift)), x.place), x.width)


def _activation(read: _Read, build: NetworkBuilder, x: _Value, name: str, place: str) -> _Value:
    """place: where its arrays are, if it has some."""
    if name == "identity":
        return x
    if name == "prelu":
        step: PReLU | Activation = PReLU(float32(read(f"{place}.weight", x.width)))
    else:
        need(name in ACTIVATIONS, f"there is no activation {name!r}")
        step = Activation(name)  # type: ignore[arg-type]
    return _Value(build.add(step, x.place), x.width)


def _batch_norm(read: _Read, x: _Value, name: str, *, learnt: bool = True) -> _Value:
    """(x - mean) / sqrt(var + eps) w + b, still to be done."""
    mean, var = read(f"{name}.running_mean", x.width), read(f"{name}.running_var", x.width)
    read.whole(f"{name}.num_batches_tracked", 1)
    need((var >= 0).all(), f"{name}.running_var must not be negative")
    scale = 1 / np.sqrt(var + BATCH_NORM_EPS)
    shift = -mean * scale
    if learnt:
        weight, bias = read(f"{name}.weight", x.width), read(f"{name}.bias", x.width)
        scale, shift = scale * weight, shift * weight + bias
    return _Value(x.place, x.width, scale, shift)


def _norm(
    read: _Read, build: NetworkBuilder, x: _Value, norm: str | None, name: str, *, learnt: bool = True
) -> _Value:
    if norm == "batch":
        return _batch_norm(read, x, name, learnt=learnt)
    if norm == "layer":
        step = LayerNorm(float32(read(f"{name}.weight", x.width)), float32(read(f"{name}.bias", x.width)))
        return _Value(build.add(step, x.place), x.width)
    need(norm is None, f"there is no norm {norm!r}")
    return x


# The embedding of a row


def _embedding(
    config: Mapping[str, Any],
    read: _Read,
    build: NetworkBuilder,
    prefix: str,
    *,
    periodic: Callable[..., tuple[int, int]] | None = None,
    most_one_hot: int = MOST_ONE_HOT,
    d_category: int = D_CATEGORY,
) -> _Value:
    """Numbers as they are, their waves, their curves, and the categories, side by side.

    y = [num[keep], periodic(num[periodic]), piecewise(num[piecewise]), category(codes)]
    """
    n_num, codes = config["n_num"], config["cardinalities"]
    kept = list(range(n_num)) if config.get("keep") is None else list(config["keep"])
    waves, curves = list(config["periodic"]), list(config.get("piecewise", ()))
    parts: list[tuple[int, int]] = []
    if kept:
        parts.append((_columns(build, kept), len(kept)))
    found = read.whole(f"{prefix}.periodic_columns", len(waves))
    need(found.tolist() == waves, f"{prefix}.periodic_columns are others than in the text")
    if waves:
        parts.append((periodic or _periodic)(read, build, f"{prefix}.periodic", waves))
    if curves:
        parts.append(_piecewise(read, build, f"{prefix}.piecewise", curves))
    tables = 0
    for i, n_codes in enumerate(codes):
        if n_codes <= most_one_hot:
            table = np.eye(n_codes)
        else:
            table = read(f"{prefix}.category.tables.{tables}.weight", n_codes, d_category)
            tables += 1
        parts.append((build.add(Lookup(n_num + i, float32(table)), 0), table.shape[1]))
    need(parts, "the network reads nothing of a row")
    if len(parts) == 1:
        return _Value(*parts[0])
    places, widths = zip(*parts, strict=True)
    return _Value(build.add(Concatenate(), *places), sum(widths))


def _columns(build: NetworkBuilder, places: Sequence[int]) -> int:
    return build.add(Columns(np.array(places, np.int64)), 0)


def _periodic(read: _Read, build: NetworkBuilder, name: str, places: Sequence[int]) -> tuple[int, int]:
    """W_f cos(2 pi (w_f x_f + b_f)), of each number f."""
    n_waves, d = read.width(f"{name}.frequency"), read.width(f"{name}.weight")
    shape = len(places), n_waves
    frequency, phase = read(f"{name}.frequency", *shape), read(f"{name}.phase", *shape)
    x = _columns(build, np.repeat(places, n_waves).tolist())
    turns = build.add(Affine(float32(frequency.ravel()), float32(phase.ravel())), x)
    radians = build.add(_times_2_pi(frequency.size), turns)
    weight = read(f"{name}.weight", *shape, d)
    return _mixed_waves(build, radians, weight, np.zeros((len(places), d)))


def _periodic_with_bias(
    read: _Read, build: NetworkBuilder, name: str, places: Sequence[int]
) -> tuple[int, int]:
    """W_f cos(2 pi x_f w_f + b_f) + c_f, of each number f."""
    n_waves, d = read.width(f"{name}.frequency"), read.width(f"{name}.weight")
    shape = len(places), n_waves
    frequency, phase = read(f"{name}.frequency", *shape), read(f"{name}.phase", *shape)
    x = _columns(build, np.repeat(places, n_waves).tolist())
    turns = build.add(_times_2_pi(frequency.size), x)
    radians = build.add(Affine(float32(frequency.ravel()), float32(phase.ravel())), turns)
    weight, bias = read(f"{name}.weight", *shape, d), read(f"{name}.bias", len(places), d)
    return _mixed_waves(build, radians, weight, bias)


def _mixed_waves(build: NetworkBuilder, radians: int, weight: Doubles, bias: Doubles) -> tuple[int, int]:
    waves = build.add(Cosine(), radians)
    step = LinearOfEach(float32(weight.transpose(0, 2, 1)), float32(bias))
    return build.add(step, waves), bias.size


def _times_2_pi(width: int) -> Affine:
    return Affine(float32(np.full(width, 2 * math.pi)), float32(np.zeros(width)))


def _piecewise(read: _Read, build: NetworkBuilder, name: str, places: Sequence[int]) -> tuple[int, int]:
    """a_f x_f + b_f + sum_t W_ft r_t(x_f), of each number f; r_t: the share of bin t that lies below x.

    The line is one more bin: from 0, of width 1, without limits.
    """
    n, n_edges, d = len(places), read.width(f"{name}.edges"), read.width(f"{name}.weight")
    edges = read(f"{name}.edges", n, n_edges)
    widths = np.diff(edges)
    exists = widths > 0
    need((widths >= 0).all() and exists[:, :1].all(), f"{name}.edges must rise")
    place = np.arange(n_edges - 1)
    low = np.where(exists, np.where(place == 0, -np.inf, 0.0), 0.0)
    high = np.where(exists, np.where(place == exists.sum(axis=1, keepdims=True) - 1, np.inf, 1.0), 0.0)
    line = np.ones((n, 1))
    ramp = Ramp(
        *(
            float32(np.hstack(pair).ravel())
            for pair in (
                (0 * line, edges[:, :-1]),
                (line, np.where(exists, widths, 1.0)),
                (-np.inf * line, low),
                (np.inf * line, high),
            )
        )
    )
    slope, bias = read(f"{name}.slope", n, d), read(f"{name}.bias", n, d)
    weight = read(f"{name}.weight", n, n_edges - 1, d)
    x = _columns(build, np.repeat(places, n_edges).tolist())
    all_of = np.concatenate([slope[:, None], weight], axis=1).transpose(0, 2, 1)
    return build.add(LinearOfEach(float32(all_of), float32(bias)), build.add(ramp, x)), n * d


# Architectures


def _linear_model(config: Mapping[str, Any], read: _Read, build: NetworkBuilder) -> None:
    """A Linear on the numbers and on a row of outputs for each code."""
    x = _embedding(config, read, build, "0", most_one_hot=0, d_category=config["d_out"])
    _read_linear(read, build, x, "1", config["d_out"])


def _mlp(config: Mapping[str, Any], read: _Read, build: NetworkBuilder) -> None:
    """Linear, activation and norm for each hidden width, then a Linear."""
    x = _embedding(config, read, build, "0")
    is_monotone = bool(config.get("rising") or config.get("falling"))
    norm, dropout = config.get("norm"), config.get("dropout", 0.0)
    activation = "relu" if is_monotone else config.get("activation", "relu")
    need(activation == config.get("activation", "relu"), "a monotone network takes the activation 'relu'")
    need(not is_monotone or norm != "layer", "a monotone network takes no norm 'layer'")
    signs = _signs_of_layers(config, x.width) if is_monotone else None
    place = 1
    for width in config["hidden"]:
        x = _layer(read, build, x, f"{place}", width, next(signs) if signs else None)
        x = _activation(read, build, x, activation, f"{place + 1}")
        x = _norm(read, build, x, norm, f"{place + 2}", learnt=not is_monotone)
        place += 2 + (norm is not None) + (dropout > 0)
    _layer(read, build, x, f"{place}", config["d_out"], next(signs) if signs else None)


def _layer(
    read: _Read, build: NetworkBuilder, x: _Value, name: str, d_out: int, signs: Doubles | None
) -> _Value:
    """A Linear; of a monotone network, what is across its sign is 0, whatever the file holds."""
    weight, bias = read(f"{name}.weight", d_out, x.width), read(f"{name}.bias", d_out)
    if signs is not None:
        weight = np.where(np.isnan(signs) | (weight * signs > 0), weight, 0.0)
    return _linear(build, x, weight, bias)


def _signs_of_layers(config: Mapping[str, Any], d_in: int) -> Iterator[Doubles]:
    """Of each weight of each layer of a monotone network, its sign: 1, -1, 0, or NaN where it is free."""
    below = np.full(d_in, FREE)
    for name, kind in (("rising", RISING), ("falling", FALLING), ("unused", UNUSED)):
        below[list(config.get(name, ()))] = kind
    for width in config["hidden"]:
        n_free = min(round(width * FREE_SHARE), width - 1) if (below == FREE).any() else 0
        units = np.full(width, FREE)
        units[n_free::2], units[n_free + 1 :: 2] = RISING, FALLING
        yield _signs(units, below)
        below = units
    yield _signs(np.full(config["d_out"], RISING), below)


def _signs(units: NDArray[np.int64], inputs: NDArray[np.int64]) -> Doubles:
    """A weight's sign is that of its unit times that of its input; a free input is free."""
    signs = np.multiply.outer(units, inputs).astype(np.float64)
    signs[:, inputs == FREE] = np.nan
    signs[:, inputs == UNUSED] = 0.0
    return signs


def _resnet(config: Mapping[str, Any], read: _Read, build: NetworkBuilder) -> None:
    """Y = Linear(ReLU(BatchNorm(z^n))),   z^i = z^i-1 + Linear(ReLU(Linear(BatchNorm(z^i-1))))."""
    need(len(config["hidden"]) > 1, "a ResNet needs its width, then one for each block")
    d, *inside = config["hidden"]
    z = _read_linear(read, build, _embedding(config, read, build, "layers.0"), "layers.1", d)
    for i, width in enumerate(inside, start=2):
        name = f"layers.{i}.inner"
        inner = _read_linear(read, build, _batch_norm(read, z, f"{name}.0"), f"{name}.1", width)
        inner = _activation(read, build, inner, "relu", "")
        inner = _read_linear(read, build, inner, f"{name}.4", d)
        z = _Value(build.add(Add(), z.place, inner.place), d)
    last = len(inside) + 2
    z = _activation(read, build, _settled(build, _batch_norm(read, z, f"layers.{last}")), "relu", "")
    _read_linear(read, build, z, f"layers.{last + 2}", config["d_out"])


def _realmlp(config: Mapping[str, Any], read: _Read, build: NetworkBuilder) -> None:
    """Y = Linear(z^L),   z^l = (1 - a) v + a activation(v),   v = Linear(z^l-1),   z^0 = s embedding(x)."""
    x = _embedding(config, read, build, "embedding", periodic=_periodic_with_bias)
    x = _Value(x.place, x.width, scale=read("layers.0.scale", x.width))
    place = 1
    for width in config["hidden"]:
        v = _of_size_one(read, build, x, f"layers.{place}", width)
        name = f"layers.{place + 1}"
        x = _mixed(read, build, v, config.get("activation", "relu"), name)
        place += 3
    _of_size_one(read, build, x, f"layers.{place}", config["d_out"])


def _of_size_one(read: _Read, build: NetworkBuilder, x: _Value, name: str, d_out: int) -> _Value:
    """W x / sqrt(d_in) + b."""
    weight = read(f"{name}.weight", d_out, x.width) / math.sqrt(x.width)
    return _linear(build, x, weight, read(f"{name}.bias", d_out))


def _mixed(read: _Read, build: NetworkBuilder, v: _Value, activation: str, name: str) -> _Value:
    share = read(f"{name}.share", v.width)
    active = _activation(read, build, v, activation, f"{name}.activation")
    if (share == 1).all():
        return active
    none = float32(np.zeros(v.width))
    of_active = build.add(Affine(float32(share), none), active.place)
    of_itself = build.add(Affine(float32(1 - share), none), v.place)
    return _Value(build.add(Add(), of_itself, of_active), v.width)


def _tabm(config: Mapping[str, Any], read: _Read, build: NetworkBuilder) -> None:
    """z_i = relu(s_i W (r_i z_i) + b_i) for each member i and layer; a Linear of its own; the mean of all."""
    embedding = partial(_embedding, most_one_hot=max(config["cardinalities"], default=0))
    x, d_out = embedding(config, read, build, "embedding"), config["d_out"]
    k = read.length("head.bias")
    x = _Value(build.add(Columns(np.tile(np.arange(x.width), k)), x.place), x.width)
    for i, width in enumerate(config["hidden"]):
        name = f"hidden.{i}"
        r, s = read(f"{name}.r", k, x.width), read(f"{name}.s", k, width)
        weight, bias = read(f"{name}.weight", width, x.width), read(f"{name}.bias", k, width)
        z = build.add(_scaled(r), x.place)
        z = build.add(Linear(float32(weight), float32(np.zeros(width)), groups=k), z)
        z = build.add(Affine(float32(s.ravel()), float32(bias.ravel())), z)
        x = _Value(build.add(Activation("relu"), z), width)
    weight, bias = read("head.weight", k, x.width, d_out), read("head.bias", k, d_out)
    out = build.add(LinearOfEach(float32(weight.transpose(0, 2, 1)), float32(bias)), x.place)
    LINKS[config.get("link", "identity")](build, out, k, k * d_out)


def _scaled(factors: Doubles) -> Affine:
    return Affine(float32(factors.ravel()), float32(np.zeros(factors.size)))


def _mean(build: NetworkBuilder, out: int, k: int, width: int) -> None:
    build.add(Mean(k), out)


def _mean_of_classes(build: NetworkBuilder, out: int, k: int, width: int) -> None:
    """The logarithms of the mean probabilities."""
    build.add(LogMeanExp(k), build.add(LogSoftmax(k), out))


def _mean_of_two(build: NetworkBuilder, out: int, k: int, width: int) -> None:
    """The logit of the mean probability: log p - log (1 - p).

    log p_i = -softplus(-x_i),   log (1 - p_i) = -softplus(x_i)
    """
    minus, minus_one = _scaled(np.full(width, -1.0)), _scaled(np.full(width // k, -1.0))
    negative = build.add(minus, build.add(Activation("softplus"), out))
    positive = build.add(minus, build.add(Activation("softplus"), build.add(minus, out)))
    log_p, log_rest = build.add(LogMeanExp(k), positive), build.add(LogMeanExp(k), negative)
    build.add(Add(), log_p, build.add(minus_one, log_rest))


NORMS = ("batch", "layer", None)
ACTIVATION_NAMES = (*ACTIVATIONS, "identity", "prelu")  # the latter two are no step, or one of their own
LINKS: Mapping[str, Callable[[NetworkBuilder, int, int, int], None]] = {
    "identity": _mean,
    "sigmoid": _mean_of_two,
    "softmax": _mean_of_classes,
}

ARCHITECTURES: Mapping[str, Callable[[Mapping[str, Any], _Read, NetworkBuilder], None]] = {
    "linear": _linear_model,
    "mlp": _mlp,
    "realmlp": _realmlp,
    "resnet": _resnet,
    "tabm": _tabm,
}
