"""TabM with piecewise-linear embeddings, trained as its authors' example trains it.

Source: the packages `tabm` and `rtdl_num_embeddings`, and `example.ipynb` of yandex-research/tabm: normal
quantiles of the numbers, standardised targets, 48 bins, embeddings of 16, AdamW at 2e-3 with weight decay
3e-4, gradients clipped to norm 1, batches of 256, 16 epochs of patience on validation accuracy or RMSE.
Differs: categories have a number more, for missing and unseen; fewer bins where there are fewer rows.
"""

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd
import rtdl_num_embeddings
import tabm
import torch
from numpy.typing import NDArray
from sklearn.preprocessing import QuantileTransformer
from torch import Tensor, nn

BATCH, EVAL_BATCH, PATIENCE = 256, 8096, 16


class Encoder:
    """Prepared features as float32 numbers and int64 category numbers, 0 for missing or unseen."""

    def __init__(self, x: pd.DataFrame) -> None:
        self.cat = [name for name in x.columns if isinstance(x[name].dtype, pd.CategoricalDtype)]
        self.num = [name for name in x.columns if name not in self.cat]
        self.cardinalities = [len(x[name].cat.categories) + 1 for name in self.cat]
        self.quantiles = QuantileTransformer(
            n_quantiles=max(min(len(x) // 30, 1000), 10), output_distribution="normal", subsample=10**9
        )
        if self.num:
            values = x[self.num].to_numpy(np.float32)
            noise = np.random.default_rng(0).normal(0.0, 1e-5, values.shape).astype(np.float32)
            self.quantiles.fit(values + noise)

    def __call__(self, x: pd.DataFrame) -> tuple[Tensor | None, Tensor | None]:
        num = cat = None
        if self.num:
            num = torch.from_numpy(self.quantiles.transform(x[self.num].to_numpy(np.float32))).float()
        if self.cat:
            codes = np.column_stack([x[name].cat.codes.to_numpy(np.int64) for name in self.cat])
            cat = torch.from_numpy(codes + 1)
        return num, cat


class TabMPLE:
    """The trained network with its encoder and the units of the target."""

    def __init__(self, net: nn.Module, encoder: Encoder, mean: float, std: float) -> None:
        self.net, self.encoder, self.mean, self.std = net, encoder, mean, std

    def predict(self, x: pd.DataFrame) -> NDArray[np.floating[Any]]:
        return _outputs(self.net, *self.encoder(x)).mean(1)[:, 0].numpy() * self.std + self.mean

    def predict_proba(self, x: pd.DataFrame) -> NDArray[np.float32]:
        return _outputs(self.net, *self.encoder(x)).softmax(-1).mean(1).numpy()


def fit(
    x: pd.DataFrame,
    y: NDArray[Any],
    x_valid: pd.DataFrame,
    y_valid: NDArray[Any],
    classes: tuple[str, ...] | None,
    seed: int,
) -> TabMPLE:
    """Train until the validation rows have not improved for 16 epochs."""
    torch.manual_seed(seed)
    encoder = Encoder(x)
    num, cat = encoder(x)
    mean, std = (float(y.mean()), float(y.std())) if classes is None else (0.0, 1.0)
    target = torch.from_numpy(y)
    if classes is None:
        target = ((target - mean) / std).float()
    net = _network(encoder, num, 1 if classes is None else len(classes))
    model = TabMPLE(net, encoder, mean, std)

    def score() -> float:
        if classes is None:
            return -float(np.mean((model.predict(x_valid) - y_valid) ** 2))
        return float(np.mean(model.predict_proba(x_valid).argmax(1) == y_valid))

    _train(net, num, cat, target, score)
    return model


def _network(encoder: Encoder, num: Tensor | None, d_out: int) -> Any:
    embeddings = None
    if num is not None:
        bins = rtdl_num_embeddings.compute_bins(num, n_bins=min(48, len(num) - 1))
        embeddings = rtdl_num_embeddings.PiecewiseLinearEmbeddings(
            bins, d_embedding=16, activation=False, version="B"
        )
    return tabm.TabM.make(
        n_num_features=len(encoder.num),
        cat_cardinalities=encoder.cardinalities,
        d_out=d_out,
        num_embeddings=embeddings,
    )


def _train(
    net: Any, num: Tensor | None, cat: Tensor | None, target: Tensor, score: Callable[[], float]
) -> None:
    optimizer = torch.optim.AdamW(net.parameters(), lr=2e-3, weight_decay=3e-4)
    loss = nn.functional.cross_entropy if target.dtype == torch.int64 else _mse
    best, best_state, patience = -np.inf, deepcopy(net.state_dict()), PATIENCE
    while patience >= 0:
        net.train()
        for rows in torch.randperm(len(target)).split(BATCH):
            optimizer.zero_grad()
            out = net(None if num is None else num[rows], None if cat is None else cat[rows])
            loss(out.flatten(0, 1), target[rows].repeat_interleave(out.shape[1])).backward()
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimizer.step()
        patience -= 1
        if (reached := score()) > best:
            best, best_state, patience = reached, deepcopy(net.state_dict()), PATIENCE
    net.load_state_dict(best_state)


def _mse(out: Tensor, target: Tensor) -> Tensor:
    return nn.functional.mse_loss(out[:, 0], target)


@torch.inference_mode()
def _outputs(net: nn.Module, num: Tensor | None, cat: Tensor | None) -> Tensor:
    """Of all members: (n_rows, k, d_out)."""
    net.eval()
    n_rows = len(num if num is not None else cat)  # type: ignore[arg-type]
    parts = torch.arange(n_rows).split(EVAL_BATCH)
    return torch.cat(
        [net(None if num is None else num[r], None if cat is None else cat[r]) for r in parts]
    ).float()
