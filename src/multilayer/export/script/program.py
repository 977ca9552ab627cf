"""NAME: predicts TARGET, and trains the networks that do. It needs PyTorch and NumPy, and nothing else.

    python FILE predict rows.csv > predictions.csv
    python FILE train rows.csv trained.npz        # the table that the model was fitted on

Weights, and the numbers that the preparation learnt, are in FILE.npz. MODEL says the rest.
"""

import csv
import math
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

MODEL: dict[str, Any] = {}

Columns = dict[str, np.ndarray]
MISSING, RARE = 0, 1  # codes of categories; levels follow
NO_DATE = -(2**63)


# A table


def read_csv(path: str) -> dict[str, list[str | None]]:
    """Columns of texts; None where a mark says that a value is missing."""
    with open(path, encoding="utf-8-sig", newline="") as file:
        header, *rows = [row for row in csv.reader(file) if row]
    cells = [[None if cell.strip() in MODEL["marks"] else cell.strip() for cell in row] for row in rows]
    return {name.strip(): [row[i] for row in cells] for i, name in enumerate(header)}


def number(text: str, column: Mapping[str, Any]) -> float:
    """A number."""
    return float(text)


def boolean(text: str, column: Mapping[str, Any]) -> float:
    """True and false in several writings."""
    return {"0": 0.0, "0.0": 0.0, "1": 1.0, "1.0": 1.0, "false": 0.0, "f": 0.0, "no": 0.0, "n": 0.0,
            "true": 1.0, "t": 1.0, "yes": 1.0, "y": 1.0}[text.lower()]  # fmt: skip


def time_of_day(text: str, column: Mapping[str, Any]) -> float:
    """Seconds since midnight."""
    found = re.fullmatch(r"(\d{1,2}):([0-5]\d)(?::([0-5]\d(?:\.\d+)?))?", text)
    if found is None or int(found[1]) > 23:
        raise ValueError(text)
    return int(found[1]) * 3_600 + int(found[2]) * 60 + float(found[3] or 0)


def date(text: str, column: Mapping[str, Any]) -> int:
    """Microseconds since 1970 in UTC."""
    pattern = column["date_format"]
    try:
        moment = datetime.fromisoformat(text) if pattern == "ISO 8601" else datetime.strptime(text, pattern)
    except ValueError:
        moment = datetime.fromisoformat(text)
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)


READ: dict[str, Callable[[str, Mapping[str, Any]], float | int]] = {
    "number": number, "boolean": boolean, "time": time_of_day, "date": date
}  # fmt: skip


def typed(table: Mapping[str, Sequence[str | None]]) -> Columns:
    """Numbers with NaN, dates with NO_DATE, texts with None, as the steps begin with them."""
    columns: Columns = {}
    for column in MODEL["columns"]:
        texts = table[column["name"]]
        if column["kind"] in READ:
            dtype = np.int64 if column["kind"] == "date" else np.float64
            cells = [_read(text, column, i) for i, text in enumerate(texts)]
            columns[column["name"]] = np.array(cells, dtype)
        else:
            columns[column["name"]] = np.array([*texts, None], object)[:-1]
    return columns


def _read(text: str | None, column: Mapping[str, Any], row: int) -> float | int:
    if text is None:
        return NO_DATE if column["kind"] == "date" else math.nan
    try:
        value = READ[column["kind"]](text, column)
    except (ValueError, KeyError):
        raise SystemExit(
            f"column {column['name']!r} must hold a {column['kind']}; row {row + 1} holds {text!r}"
        ) from None
    if math.isinf(value):
        raise SystemExit(f"column {column['name']!r} must be finite; row {row + 1} holds {text!r}")
    return value


# Preparation: each encoded number is a chain of these steps. x: what came before, m: where a cell is missing


def in_zone(x: np.ndarray, zone: str) -> np.ndarray:
    """Microseconds of what clocks of a zone show."""
    found = re.fullmatch(r"(?:UTC|GMT)?([+-])(\d\d):?(\d\d)?", zone)
    sign = -1 if found and found[1] == "-" else 1
    shift = timedelta(hours=int(found[2]), minutes=int(found[3] or 0)) if found else timedelta()
    of = timezone(sign * shift) if found else ZoneInfo(zone)
    local = x.copy()
    for i in np.flatnonzero(x != NO_DATE):
        quarter = min(max(int(x[i]) // 900_000_000 * 900, -62_135_510_400), 253_402_214_400)
        moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=quarter)
        offset = moment.astimezone(of).utcoffset() or timedelta()
        local[i] += round(offset.total_seconds()) * 1_000_000
    return local


def part(x: np.ndarray, name: str) -> np.ndarray:
    """Month, day of the month, of the year, of the week, or hour, from 0."""
    moments = x.astype("datetime64[us]")
    day, month, year = (moments.astype(f"datetime64[{unit}]") for unit in "DMY")
    if name == "hour":
        return (moments - day) / np.timedelta64(1, "h")
    return {
        "month": lambda: month.astype(np.int64) % 12,
        "monthday": lambda: (day - month).astype(np.int64),
        "yearday": lambda: (day - year).astype(np.int64),
        "weekday": lambda: (day.astype(np.int64) + 3) % 7,
    }[name]()


def value_text(text: str) -> str:
    """One text for texts of the same truth value or number: 3 for 3.0."""
    if text.lower() in ("true", "false"):
        return text.lower()
    return text.rstrip("0").rstrip(".") if re.fullmatch(r"-?(0|[1-9]\d*)\.\d+", text, re.ASCII) else text


def codes(x: np.ndarray, levels: Sequence[str]) -> np.ndarray:
    """0 where missing, 1 for what is no level, then the levels."""
    code = {level: i for i, level in enumerate(levels, start=RARE + 1)}
    alike: dict[str, int] = {}
    for level in levels:
        alike.setdefault(value_text(level), code[level])
    found = [MISSING if t is None else code.get(t, alike.get(value_text(t), RARE)) for t in x.tolist()]
    return np.array(found, np.int64)


def smooth_clip(x: np.ndarray, bound: float) -> np.ndarray:
    """The identity near 0, within the bound."""
    x = np.clip(x, -1e8, 1e8)
    return x / np.sqrt(1 + (x / bound) ** 2)


STEPS: dict[str, Callable[..., np.ndarray]] = {
    "IsMissing": lambda x, m: np.asarray(m),
    "Fill": lambda x, m, value: np.asarray(np.where(m, value, x)),
    "FillDate": lambda x, m: np.asarray(np.where(m, 0, x)),
    "Tame": lambda x, m: np.where(np.abs(x) < 1e-150, 0.0, np.clip(x, -1e150, 1e150)),
    "Constant": lambda x, m, value: np.full(len(x), value),
    "Subtract": lambda x, m, value: x - value,
    "Multiply": lambda x, m, value: x * value,
    "Divide": lambda x, m, value: x / value,
    "Clip": lambda x, m, low, high: np.clip(x, low, high),
    "SmoothClip": lambda x, m, bound: smooth_clip(x, bound),
    "Interpolate": lambda x, m, knots, places: np.interp(x, ARRAYS[knots], ARRAYS[places]),
    "Days": lambda x, m: np.where(m, np.nan, x / 86_400_000_000),
    "InZone": lambda x, m, zone: in_zone(x, zone),
    "Part": lambda x, m, name: part(x, name),
    "Sine": lambda x, m: np.sin(x),
    "Cosine": lambda x, m: np.cos(x),
    "Code": lambda x, m, levels: codes(x, levels),
    "Equals": lambda x, m, code: x == code,
    "Pick": lambda x, m, values: ARRAYS[values][np.minimum(x, len(ARRAYS[values]) - 1)],
    "Bin": lambda x, m, edges: np.asarray(np.searchsorted(ARRAYS[edges], x)),
}


def run(steps: Sequence[tuple[str, Mapping[str, Any]]], x: np.ndarray, m: np.ndarray) -> np.ndarray:
    """Step by step."""
    for name, fields in steps:
        x = STEPS[name](x, m, **fields)
    return x


def encoded(columns: Columns) -> tuple[np.ndarray, np.ndarray]:
    """Numbers without target statistics float32 (rows, numbers), and codes int64 (rows, categories)."""
    n_rows = len(next(iter(columns.values())))
    missing = {
        name: np.array([v is None for v in x.tolist()]) if x.dtype == object
        else x == NO_DATE if x.dtype == np.int64 else np.isnan(x)
        for name, x in columns.items()
    }  # fmt: skip
    num = [run(steps, columns[name], missing[name]) for _, name, steps in MODEL["numbers"]]
    cat = [codes(columns[name], levels) for name, levels in MODEL["categories"]]
    stacked = np.column_stack([*num, np.zeros((n_rows, 0))]).astype(np.float32)
    return stacked, np.column_stack([*cat, np.zeros((n_rows, 0))]).astype(np.int64)


def statistics(num: np.ndarray, cat: np.ndarray) -> np.ndarray:
    """How often the second class came with each value, as log-odds."""
    no = np.zeros(len(num), bool)
    found = [
        run([*([] if edges is None else [("Bin", {"edges": edges})]), ("Pick", {"values": values})],
            (cat if edges is None else num)[:, place], no)
        for place, edges, values in MODEL["statistics"]
    ]  # fmt: skip
    return np.column_stack([*found, np.zeros((len(num), 0))]).astype(np.float32)


def inputs(columns: Columns) -> np.ndarray:
    """What networks take of rows: numbers, then codes."""
    num, cat = encoded(columns)
    return np.concatenate([num, statistics(num, cat), cat.astype(np.float32)], axis=1)


# Networks


class Periodic(nn.Module):
    """W cos(2 pi (w x + b)) of each number."""

    def __init__(self, n: int, d: int, n_frequencies: int) -> None:
        super().__init__()
        scale = torch.empty(n, n_frequencies).uniform_(math.log(0.1), math.log(6.0)).exp()
        self.frequency = nn.Parameter(scale * (torch.randint(0, 2, scale.shape) * 2.0 - 1.0))
        self.phase = nn.Parameter(torch.empty(n, n_frequencies).uniform_(-0.5, 0.5))
        bound = 1 / math.sqrt(n_frequencies)
        self.weight = nn.Parameter(torch.empty(n, n_frequencies, d).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """The embedded rows."""
        waves = torch.cos(2 * math.pi * (x[..., None] * self.frequency + self.phase))
        return torch.einsum("bfn,fnd->bfd", waves, self.weight).flatten(1)


class Piecewise(nn.Module):
    """A line, and a curve that bends at the edges between bins, of each number."""

    def __init__(self, n: int, d: int, n_bins: int) -> None:
        super().__init__()
        self.register_buffer("edges", torch.linspace(-1.0, 1.0, n_bins + 1).repeat(n, 1))
        bound = 1 / math.sqrt(d)
        self.slope = nn.Parameter(torch.empty(n, d).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(n, d).uniform_(-bound, bound))
        self.weight = nn.Parameter(torch.zeros(n, n_bins, d))

    def forward(self, x: Tensor) -> Tensor:
        """The embedded rows."""
        edges = self.get_buffer("edges")
        width = edges.diff()
        exists, place = width > 0, torch.arange(width.shape[1])
        low = torch.where(place == 0, -math.inf, 0.0)
        high = torch.where(place == exists.sum(1, keepdim=True) - 1, math.inf, 1.0)
        inside = (x[..., None] - edges[:, :-1]) / torch.where(exists, width, 1.0)
        shares = torch.minimum(torch.maximum(inside, low), high) * exists
        curves = torch.einsum("bft,ftd->bfd", shares, self.weight)
        return (x[..., None] * self.slope + self.bias + curves).flatten(1)


class Categories(nn.Module):
    """A column for each code where there are few, a learnt vector where there are many."""

    def __init__(self, cardinalities: Sequence[int], d: int, most_one_hot: int) -> None:
        super().__init__()
        self.cardinalities, self.most = tuple(cardinalities), most_one_hot
        self.tables = nn.ModuleList(nn.Embedding(c, d) for c in cardinalities if c > most_one_hot)
        self.d_out = sum(c if c <= most_one_hot else d for c in cardinalities)

    def forward(self, codes: Tensor) -> Tensor:
        """The embedded rows."""
        tables = iter(self.tables)
        return torch.cat([
            F.one_hot(codes[:, i], c).float() if c <= self.most else next(tables)(codes[:, i])
            for i, c in enumerate(self.cardinalities)
        ], dim=1)  # fmt: skip


class Embedding(nn.Module):
    """Numbers as they are, waves and curves of some of them, and categories."""

    def __init__(self, config: Mapping[str, Any], d_category: int, most_one_hot: int) -> None:
        super().__init__()
        self.n_num = config["n_num"]
        kept = range(self.n_num) if config["keep"] is None else config["keep"]
        waves, cardinalities, d = config["periodic"], config["cardinalities"], config["d_periodic"]
        self.register_buffer("periodic_columns", torch.tensor(list(waves), dtype=torch.int64))
        self.register_buffer("kept_columns", torch.tensor(list(kept), dtype=torch.int64), persistent=False)
        self.periodic = Periodic(len(waves), d, config["n_frequencies"]) if len(waves) else None
        self.curved, d_curve = config["piecewise"], config["d_piecewise"]
        self.piecewise = Piecewise(len(self.curved), d_curve, config["n_bins"]) if len(self.curved) else None
        self.category = Categories(cardinalities, d_category, most_one_hot) if len(cardinalities) else None
        self.d_out = len(kept) + len(waves) * d + len(self.curved) * d_curve
        self.d_out += self.category.d_out if self.category else 0

    def forward(self, x: Tensor) -> Tensor:
        """The embedded rows."""
        num = x[:, : self.n_num]
        parts = [num[:, self.get_buffer("kept_columns")]]
        if self.periodic is not None:
            parts.append(self.periodic(num[:, self.get_buffer("periodic_columns")]))
        if self.piecewise is not None:
            parts.append(self.piecewise(num[:, self.curved]))
        if self.category is not None:
            parts.append(self.category(x[:, self.n_num :].long()))
        return torch.cat(parts, dim=1)


ACTIVATIONS: dict[str, Callable[[int], nn.Module]] = {
    "elu": lambda d: nn.ELU(),
    "gelu": lambda d: nn.GELU(),
    "identity": lambda d: nn.Identity(),
    "leaky_relu": lambda d: nn.LeakyReLU(),
    "mish": lambda d: nn.Mish(),
    "prelu": lambda d: nn.PReLU(d, init=0.0),
    "relu": lambda d: nn.ReLU(),
    "selu": lambda d: nn.SELU(),
    "sigmoid": lambda d: nn.Sigmoid(),
    "silu": lambda d: nn.SiLU(),
    "softplus": lambda d: nn.Softplus(),
    "tanh": lambda d: nn.Tanh(),
}


def network(config: Mapping[str, Any]) -> nn.Sequential:
    """A new network, with weights from PyTorch's generator."""
    if config["architecture"] == "linear":
        embedding = Embedding(config, config["d_out"], 0)
        return nn.Sequential(embedding, nn.Linear(embedding.d_out, config["d_out"]))
    embedding = Embedding(config, 8, 10)
    layers: list[nn.Module] = []
    width = embedding.d_out
    for d in config["hidden"]:
        layers += [nn.Linear(width, d), ACTIVATIONS[config["activation"]](d)]
        norms: dict[str | None, list[nn.Module]] = {"batch": [nn.BatchNorm1d(d)], "layer": [nn.LayerNorm(d)]}
        layers += norms.get(config["norm"], [])
        layers += [nn.Dropout(config["dropout"])] if config["dropout"] else []
        width = d
    return nn.Sequential(embedding, *layers, nn.Linear(width, config["d_out"]))


def saved_networks() -> list[nn.Module]:
    """The networks of the model, with their weights from the file."""
    found: list[nn.Module] = []
    for i, config in enumerate(MODEL["networks"]):
        net = network(config)
        prefix = f"network.{i}."
        own = {n.removeprefix(prefix): a for n, a in ARRAYS.items() if n.startswith(prefix)}
        shapes = {name: value.shape for name, value in net.state_dict().items()}
        net.load_state_dict({name: torch.from_numpy(a).reshape(shapes[name]) for name, a in own.items()})
        found.append(net.eval())
    return found


# Predictions


def softmax(x: np.ndarray) -> np.ndarray:
    """Probabilities of several classes."""
    z = np.exp(np.maximum(x - x.max(axis=1, keepdims=True), np.float32(-87))).astype(np.float64)
    return z / z.sum(axis=1, keepdims=True)


LINK: dict[str, Callable[..., np.ndarray]] = {
    "First": lambda x: x[:, 0].astype(np.float64),
    "Scale": lambda x, factor: x.astype(np.float64) * factor,
    "Shift": lambda x, by: x + by,
    "Clip": lambda x, low, high: np.clip(x, low, high),
    "Exp": lambda x: np.exp(x),
    "Sort": lambda x: np.sort(x.astype(np.float64), axis=1),
    "Sigmoid": lambda x: np.exp(-np.logaddexp(0.0, -x.astype(np.float64))),
    "BothClasses": lambda x: np.stack([1 - x, x], axis=1),
    "Softmax": softmax,
    "OfEach": lambda x, width, steps: np.stack(
        [linked(each, x[:, i * width : (i + 1) * width]) for i, each in enumerate(steps)], axis=1
    ),
}


def linked(steps: Sequence[tuple[str, Mapping[str, Any]]], x: np.ndarray) -> np.ndarray:
    """From outputs of a network to a prediction."""
    for name, fields in steps:
        x = LINK[name](x, **fields)
    return x


@torch.no_grad()
def predicted(x: np.ndarray, networks: Sequence[nn.Module]) -> np.ndarray:
    """Probabilities, numbers or quantiles: the mean of what all networks say."""
    rows = torch.from_numpy(x)
    weights = MODEL["weights"][: len(networks)]
    said = [w * linked(MODEL["link"], net(rows).numpy()) for w, net in zip(weights, networks, strict=True)]
    return np.asarray(sum(said) / sum(weights))


# Training


def orthogonalised(G: Tensor, steps: int) -> Tensor:
    """Singular values of about 1: Newton-Schulz, as in Muon (Jordan et al. 2024)."""
    X = G / G.norm().clamp(min=1e-7)
    X = X.T if X.shape[0] > X.shape[1] else X
    for _ in range(steps):
        A = X @ X.T
        X = 3.4445 * X + (-4.7750 * A + 2.0315 * A @ A) @ X
    return X.T if G.shape[0] > G.shape[1] else X


class Optimizer:
    """Muon for hidden matrices, where the recipe has it, and AdamW for all else."""

    def __init__(self, net: nn.Module) -> None:
        hidden = [m.weight for m in net.modules() if isinstance(m, nn.Linear)][:-1]
        self.hidden = hidden if MODEL["training"]["muon"] else []
        self.net, self.state = net, {p: (torch.zeros_like(p), torch.zeros_like(p)) for p in net.parameters()}
        self.n = 0

    @torch.no_grad()
    def step(self, factor: float, weight_decay: float) -> None:
        """One update."""
        settings = MODEL["training"]
        self.n += 1
        b1, b2 = settings["betas"]
        for p, (m, v) in self.state.items():
            if p.grad is None:
                continue
            if any(p is matrix for matrix in self.hidden):
                lr = settings["muon_lr"] * factor
                m.lerp_(p.grad, 1 - 0.95)
                update = orthogonalised(p.grad.lerp(m, 0.95), settings["newton_schulz"])
                scale = math.sqrt(max(1.0, p.shape[0] / p.shape[1]))
                p.mul_(1 - lr * weight_decay).add_(update, alpha=-lr * scale)
                continue
            lr = settings["lr"] * factor
            decay = weight_decay if p.ndim == 2 or settings["decays_all"] else 0.0
            m.lerp_(p.grad, 1 - b1)
            v.mul_(b2).addcmul_(p.grad, p.grad, value=1 - b2)
            root = v.sqrt() / math.sqrt(1 - b2**self.n) + 1e-8
            p.mul_(1 - lr * decay).addcdiv_(m, root, value=-lr / (1 - b1**self.n))


def rate(progress: float) -> float:
    """Of the learning rate: up over 5 % of training, then down along half a cosine; or constant."""
    if MODEL["training"]["schedule"] == "constant":
        return 1.0
    if progress < 0.05:
        return max(progress, 1e-3) / 0.05
    return 0.5 * (1 + math.cos(math.pi * (progress - 0.05) / 0.95))


def quantile_loss(out: Tensor, y: Tensor) -> Tensor:
    """The pinball loss: q max(y - out, 0) + (1 - q) max(out - y, 0)."""
    q = out.new_tensor(MODEL["training"]["quantiles"])
    targets = y.reshape(len(y), -1, 1)
    short = targets - out.reshape(len(y), targets.shape[1], len(q))
    return (q * short.relu() + (1 - q) * (-short).relu()).reshape(len(y), -1)


LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "binary_cross_entropy": lambda out, y: F.binary_cross_entropy_with_logits(out, y, reduction="none"),
    "cross_entropy": lambda out, y: F.cross_entropy(out, y, reduction="none")[:, None],
    "mse": lambda out, y: (out - y) ** 2,
    "mae": lambda out, y: (out - y).abs(),
    "quantile": quantile_loss,
}


def loss_of(out: Tensor, y: Tensor, weight: Tensor | None) -> Tensor:
    """The mean over rows, each by its weight."""
    each = LOSSES[MODEL["training"]["loss"]](out, y).mean(1)
    return each.mean() if weight is None else (each * weight).sum() / weight.sum()


def bounds_of(n_rows: int, size: int) -> list[int]:
    """Where batches start, and the end; a last batch of one row is joined to the one before."""
    starts = list(range(0, n_rows, size))
    if size > 1 and len(starts) > 1 and n_rows - starts[-1] == 1:
        starts.pop()
    return [*starts, n_rows]


def targets(table: Mapping[str, Sequence[str | None]]) -> np.ndarray:
    """Codes of classes, or numbers; (rows, targets)."""
    found = []
    for target in MODEL["targets"]:
        texts = table[target["name"]]
        if target["labels"] is None:
            found.append(np.array([float(text or "nan") for text in texts]))
        else:
            code = {value_text(label): i for i, label in enumerate(target["labels"])}
            found.append(np.array([code[value_text(text or "")] for text in texts]))
    return np.column_stack(found)


def network_targets(code: np.ndarray) -> Tensor:
    """As the loss wants them: codes, 0 and 1, or standardised numbers."""
    if MODEL["training"]["loss"] == "cross_entropy":
        return torch.from_numpy(code[:, 0].astype(np.int64))
    columns = [
        code[:, i] if target["labels"] else (code[:, i] - target["center"]) / target["scale"]
        for i, target in enumerate(MODEL["targets"])
    ]
    return torch.from_numpy(np.column_stack(columns).astype(np.float32))


def out_of_fold(
    num: np.ndarray, cat: np.ndarray, positive: np.ndarray, w: np.ndarray, fold: np.ndarray
) -> np.ndarray:
    """Target statistics of training rows, each from the rows of the other folds."""
    columns = []
    for place, edges, _ in MODEL["statistics"]:
        code = cat[:, place] if edges is None else np.searchsorted(ARRAYS[edges], num[:, place])
        n_codes, n_folds = int(code.max()) + 2, int(fold.max()) + 1
        is_rare = np.bincount(code, w, n_codes) < 20
        pooled = np.where(is_rare, code[is_rare[code]].min(initial=n_codes - 1), np.arange(n_codes))
        code = pooled[code]
        cells, shape = fold * n_codes + code, (n_folds, n_codes)
        rows = np.bincount(cells, w, n_folds * n_codes).reshape(shape)
        hits = np.bincount(cells, w * positive, n_folds * n_codes).reshape(shape)
        share = float(np.average(positive, weights=w))
        p = (hits.sum(0) - hits + 10 * share) / (rows.sum(0) - rows + 10)
        p, p0 = np.clip(p, 1e-4, 1 - 1e-4), np.clip(share, 1e-4, 1 - 1e-4)
        column = (np.log(p / (1 - p)) - np.log(p0 / (1 - p0)))[fold, code]
        mean = np.average(column, weights=w)
        scale = float(np.sqrt(np.average((column - mean) ** 2, weights=w))) or 1.0
        columns.append(np.clip(column / scale, -4.0, 4.0))
    return np.column_stack([*columns, np.zeros((len(num), 0))]).astype(np.float32)


TrainingRows = tuple[Tensor, Tensor, Tensor | None, np.ndarray]


def training_rows(table: Mapping[str, Sequence[str | None]]) -> TrainingRows:
    """Encoded rows, targets, weights and folds, in the order in which the model's networks saw them."""
    order, fold = ARRAYS["order"], ARRAYS["fold"]
    if len(next(iter(table.values()))) != MODEL["training"]["n_rows"]:
        raise SystemExit(f"train wants the table of the fit, of {MODEL['training']['n_rows']} rows")
    columns = typed(table)
    num, cat = encoded({name: values[order] for name, values in columns.items()})
    code = targets(table)[order]
    w = ARRAYS["row_weight"].astype(np.float64) if "row_weight" in ARRAYS else np.ones(len(order))
    more = (
        out_of_fold(num, cat, code[:, 0].astype(np.float64), w, fold) if MODEL["statistics"] else num[:, :0]
    )
    x = torch.from_numpy(np.concatenate([num, more, cat.astype(np.float32)], axis=1))
    weight = torch.from_numpy(ARRAYS["loss_weight"]) if "loss_weight" in ARRAYS else None
    return x, network_targets(code), weight, fold


def epochs_of(number: int, rows: TrainingRows) -> Iterator[tuple[dict[str, Tensor], list[float]]]:
    """Train one network: its weights after each epoch, and the losses of the epoch's steps."""
    settings = MODEL["training"]
    x, y, weight, fold = rows
    seed = settings["seeds"][number]
    torch.manual_seed(seed)
    net = network(settings["network"])
    torch.manual_seed(seed)  # of dropout
    optimizer, rng = Optimizer(net), np.random.default_rng([seed, 0])
    mine = np.flatnonzero(fold != number % settings["n_folds"])
    bounds = bounds_of(len(mine), min(settings["batch_size"], len(mine)))
    n_steps = len(bounds) - 1
    for epoch in range(settings["epochs_run"][number]):
        order = torch.from_numpy(mine[rng.permutation(len(mine))])
        net.train()
        losses = []
        for step in range(n_steps):
            batch = order[bounds[step] : bounds[step + 1]]
            for p in net.parameters():
                p.grad = None
            loss = loss_of(net(x[batch]), y[batch], None if weight is None else weight[batch])
            loss.backward()
            losses.append(float(loss.detach()))
            if settings["clip_norm"] is not None:
                nn.utils.clip_grad_norm_(net.parameters(), settings["clip_norm"])
            progress = (epoch + step / n_steps) / settings["epochs"]
            optimizer.step(rate(progress), settings["weight_decay"][number][epoch])
        yield {name: value.clone() for name, value in net.state_dict().items()}, losses


def train(table: Mapping[str, Sequence[str | None]]) -> list[nn.Module]:
    """The networks of the model, trained anew: each is the mean of its weights over some epochs."""
    settings = MODEL["training"]
    rows = training_rows(table)
    found: list[nn.Module] = []
    for number, (first, last) in zip(settings["members"], settings["epochs_kept"], strict=True):
        kept = [state for i, (state, _) in enumerate(epochs_of(number, rows)) if first <= i < last]
        net = network(settings["network"])
        net.load_state_dict({name: mean([state[name] for state in kept]) for name in kept[0]})
        found.append(net.eval())
    return found


def mean(values: Sequence[Tensor]) -> Tensor:
    """Of numbers; of a counter the last."""
    if not values[0].is_floating_point():
        return values[-1]
    return torch.stack([value.double() for value in values]).mean(0).to(values[0].dtype)


# The program


def _load(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as file:
        return dict(file)


ARRAYS: dict[str, np.ndarray] = _load(Path(__file__).with_suffix(".npz")) if MODEL else {}


def main(words: Sequence[str]) -> None:
    """Predict, or train."""
    if len(words) == 2 and words[0] == "predict":
        prediction = predicted(inputs(typed(read_csv(words[1]))), saved_networks())
        flat = prediction.reshape(len(prediction), -1)
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(MODEL["outputs"])
        writer.writerows(flat.tolist())
    elif len(words) == 3 and words[0] == "train":
        networks = train(read_csv(words[1]))
        networks += saved_networks()[len(networks) :]  # a linear one, which is not trained here
        arrays = {
            f"network.{i}.{name}": value.numpy()
            for i, net in enumerate(networks)
            for name, value in net.state_dict().items()
        }
        np.savez(words[2], **arrays)
    else:
        raise SystemExit(__doc__)


if __name__ == "__main__":
    main(sys.argv[1:])
