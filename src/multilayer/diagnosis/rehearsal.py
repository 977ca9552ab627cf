"""Short runs on copies: does the network learn as it is, and which change makes it learn?

A fault of scale, rate, length or activation is named only if the mended twin learns visibly more in the same
number of steps, on rows that neither has seen. So targets that are mere noise are no fault.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from multilayer.diagnosis.finding import Finding, Patch, found
from multilayer.diagnosis.layers import DRAWN_ANEW, bent, bounded_activations, linear_chain, rectified
from multilayer.diagnosis.loss_core import CoreName, see_core
from multilayer.diagnosis.patches import (
    with_adam,
    with_rate,
    with_scaled_inputs,
    with_scaled_target,
    with_settings,
)
from multilayer.diagnosis.scene import Scene, Targets
from multilayer.diagnosis.setup import Setup
from multilayer.training.autograd import REFUSALS, evaluating, is_torchs, needs_closure
from multilayer.training.random_state import RandomState
from multilayer.training.user_arrays import call, parts_of, taken

MOST_ROWS = 2_000  # of the data, in a rehearsal
MOST_STEPS, MOST_OF_IT = 400, 4_000  # of a change; of the run as it is
MOST_WORK = 2e11  # multiplications of all rehearsals together; about ten seconds of a core
GOOD = 0.95  # of the loss of a constant: a run that explains so much needs no doctor
# A change is worth a finding if it explains this much more of the loss, and the run as it is less than this
# share of what it explains. Chosen beforehand; benchmarks/doctor_bench tries them.
GAIN, SHARE = 0.10, 0.75
FURTHER, FURTHER_SHARE = 0.05, 0.95  # the same for a change after another one
OF_PAIRS = 0.20  # gain of two changes together, which are only tried where the run as it is learns nothing
CLEAR = 0.5  # with less than this share of what the change explains, it is an error
MOST_CHANGES = 4
MOMENTS = (0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 1.0)  # of a run, at which it is judged
BY_HEART, LEARNT = 16, 0.5  # rows that a network is to learn by heart, and how much of them
LOST_AGAIN = 0.2  # a run whose own rows are so much less explained at its end has diverged
STILL = 0.05  # a run that explains less has learnt nothing
SIZES = (0.15, 2.5)  # of weights, in units of one over the root of their inputs; PyTorch draws 0.58
KNOWN: tuple[CoreName, ...] = ("squared", "absolute", "bce", "bce_logits", "ce", "nll")


@dataclass(frozen=True)
class Change:
    """A change that may help: the code of the fault that it mends, what was seen, and the patch."""

    code: str
    message: str
    patch: Patch
    evidence: dict[str, float | int]
    layer: str | None = None
    steps: int | None = None  # that it takes, where these are the change


@dataclass(frozen=True)
class Stage:
    """The rows of a rehearsal: some to train on, some to judge by.

    kind:    which loss it comes down to
    n_steps: of a change
    """

    setup: Setup
    held: Setup
    kind: CoreName
    guess: float
    n_steps: int

    @classmethod
    def of(cls, setup: Setup, kind: CoreName) -> "Stage | None":
        """Divide a sample of the rows; None where nothing could be told from it."""
        if kind not in KNOWN or setup.y is None or setup.n_rows < 20 or needs_closure(setup.optimizer):
            return None
        x, y = setup.sample(MOST_ROWS)
        n = len(parts_of(x)[0])
        order = torch.randperm(n, generator=torch.Generator().manual_seed(0)).to(parts_of(x)[0].device)
        n_held = max(n // 5, 4)
        own = replace(setup, x=taken(x, order[n_held:]), y=taken(y, order[n_held:]))
        held = replace(setup, x=taken(x, order[:n_held]), y=taken(y, order[:n_held]))
        work = sum(p.numel() for p in setup.net.parameters()) * own.rows_a_step * 6 + 2e5
        n_steps = int(min(MOST_STEPS, MOST_WORK / 12 / work))
        guess = guess_of(held, kind)
        return cls(own, held, kind, guess, n_steps) if n_steps >= 20 and guess > 0 else None

    @property
    def steps_as_it_is(self) -> int:
        """How far the run as it is goes here: its own length, if that is not too long."""
        return self.n_steps if self.setup.epochs is None else min(self.full, self.longest)

    @property
    def longest(self) -> int:
        """Most steps of the run as it is."""
        return int(self.n_steps * MOST_OF_IT / MOST_STEPS)

    @property
    def steps_of_a_change(self) -> int:
        """No more than the run as it is has."""
        return min(self.n_steps, self.steps_as_it_is)

    @property
    def full(self) -> int:
        """Steps of all epochs on the rows that there were before some were held out."""
        n_rows = self.setup.n_rows + self.held.n_rows
        return (self.setup.epochs or 0) * -(-n_rows // min(self.setup.batch_size or n_rows, n_rows))


def guess_of(setup: Setup, kind: CoreName) -> float:
    """What the best constant loses, in the loss's own units.

    >>> net = nn.Linear(1, 1)
    >>> y = torch.tensor([[0.0], [2.0]])
    >>> guess_of(Setup(net, y, y, nn.MSELoss(), torch.optim.SGD(net.parameters())), "squared")
    1.0
    """
    y = parts_of(setup.y)[0]
    values = y.detach().double().reshape(len(y), -1)
    if kind == "squared":
        return float((values - values.mean(0)).square().mean())
    if kind == "absolute":
        return float((values - values.median(0).values).abs().mean())
    if kind in ("bce", "bce_logits"):
        p = values.mean(0).clamp(1e-6, 1 - 1e-6)
        return float(-(p * p.log() + (1 - p) * (1 - p).log()).mean())
    if values.shape[1] == 1:
        counts = torch.bincount(y.reshape(-1).long().clamp(min=0)).double()
        shares = counts[counts > 0] / counts.sum()
    else:
        shares = values.mean(0).clamp(min=1e-9)
    return float(-(shares * shares.log()).sum())


def explained(setup: Setup, kind: CoreName, guess: float) -> float:
    """The share of a constant's loss that the network has explained; below zero if it is worse."""
    with torch.no_grad(), evaluating(setup.net):
        try:
            core = see_core(setup.loss, call(setup.net, setup.x), tuple(parts_of(setup.y)))
        except REFUSALS:
            return -math.inf
    if core.error is not None or core.input is None or core.target is None:
        return -math.inf
    scale = _units(setup.loss)
    loss = float(_MEAN[kind](core.input, core.target)) * (scale if kind == "absolute" else scale**2)
    return 1 - loss / guess if math.isfinite(loss) else -math.inf


def _units(loss: object) -> float:
    """What one unit of a loss's difference is in the targets' own; 1 unless they were scaled."""
    spread = getattr(loss, "spread", None)
    return float(spread.double().square().mean().sqrt()) if isinstance(spread, Tensor) else 1.0


def _ce(out: Tensor, y: Tensor) -> Tensor:
    return nn.functional.cross_entropy(out, y)


_MEAN: dict[CoreName, Callable[[Tensor, Tensor], Tensor]] = {
    "squared": nn.functional.mse_loss,
    "absolute": nn.functional.l1_loss,
    "bce": nn.functional.binary_cross_entropy,
    "bce_logits": nn.functional.binary_cross_entropy_with_logits,
    "ce": _ce,
    "nll": nn.functional.nll_loss,
}


def run(setup: Setup, n_steps: int, seed: int = 0) -> Iterator[float]:
    """Train in place for so many updates, as the loop of a textbook does; the loss of each as it comes.

    Ends early where the loss is no longer finite.
    """
    batch, n = setup.rows_a_step, setup.n_rows
    device = parts_of(setup.x)[0].device
    order = torch.Generator().manual_seed(seed)
    rows, at = torch.randperm(n, generator=order), 0
    for _ in range(n_steps):
        if at + batch > n:
            rows, at = torch.randperm(n, generator=order), 0
        few = rows[at : at + batch].to(device)
        at += batch
        setup.optimizer.zero_grad()
        loss = setup.loss_of(call(setup.net, taken(setup.x, few)), taken(setup.y, few))
        loss.backward()
        setup.optimizer.step()
        value = float(loss.detach())
        yield value
        if not math.isfinite(value):
            return


def after(stage: Stage, setup: Setup, n_steps: int) -> float:
    """The most that a copy explains of the rows held out, at any of some moments within so many steps.

    The best moment, as a run that goes on until it knows its rows by heart is no fault of these. One that in
    the end has lost even the rows that it trained on is judged by its end.
    """
    twin = setup.copied()
    held = replace(stage.held, net=twin.net, loss=twin.loss)
    moments = {max(1, round(n_steps * share)) for share in MOMENTS}
    best = -math.inf
    device = parts_of(setup.x)[0].device
    with RandomState(0, device, of_all=not is_torchs(setup.net)).in_place(), torch.enable_grad():
        try:
            for step, value in enumerate(run(twin, n_steps), 1):
                if not math.isfinite(value):
                    return -math.inf
                if step in moments:
                    best = max(best, explained(held, stage.kind, stage.guess))
                    if best >= GOOD:
                        break
        except REFUSALS:
            return best
    trained = replace(stage.setup, net=twin.net, loss=twin.loss)
    end = explained(trained, stage.kind, guess_of(trained, stage.kind) or 1.0)
    return best if end > best - LOST_AGAIN else explained(held, stage.kind, stage.guess)


def rehearse(scene: Scene) -> Iterator[Finding]:
    """The changes, one after the other, that make the network learn visibly more."""
    stage = Stage.of(scene.setup, scene.core.name)
    if stage is None:
        return
    as_it_is = after(stage, stage.setup, stage.steps_as_it_is)
    setup, done = stage.setup, set[str]()
    for _ in range(MOST_CHANGES):
        if as_it_is >= GOOD:
            return
        best = _best(stage, setup, done, as_it_is)
        if best is None:
            if as_it_is < STILL and not done:
                yield from _by_heart(stage)
            return
        chosen, explains = best
        for change in chosen:
            yield _as_finding(change, as_it_is, explains, together=len(chosen) > 1)
            done.add(change.code)
        setup = _changed(setup, chosen)
        as_it_is = max(explains, after(stage, setup, stage.steps_as_it_is))


def _by_heart(stage: Stage) -> Iterator[Finding]:
    """A few rows that cannot even be learnt by heart, by a network with weights enough to hold them."""
    setup = stage.setup
    n_weights = sum(p.numel() for p in setup.net.parameters() if p.requires_grad)
    if n_weights < 20 * BY_HEART:
        return
    x, y = taken(setup.x, slice(0, BY_HEART)), taken(setup.y, slice(0, BY_HEART))
    few = replace(setup, x=x, y=y, batch_size=None)
    guess = guess_of(few, stage.kind)
    if guess <= 0:
        return
    change = with_adam(1e-2).mend
    assert change is not None
    held = replace(stage, setup=few, held=few, guess=guess)
    most = max(after(held, one, stage.n_steps) for one in (few, change(few.copied())))
    if most < LEARNT:
        yield found(
            "cannot-learn-a-batch",
            f"After {stage.n_steps} steps on the same {BY_HEART} rows, by its optimiser and by Adam, the "
            f"network explains {_percent(most)} of the loss of a constant.",
            rows=BY_HEART, explained=most,
            patch=Patch("# look at forward(): the inputs may not reach the output, or too little of them"),
        )  # fmt: skip


def _as_finding(change: Change, as_it_is: float, explains: float, *, together: bool) -> Finding:
    """A change that helps, in words."""
    with_it = "with this and the next change together" if together else "with the change"
    if change.steps is None:
        ends = (
            f"In the same number of steps it explains {_percent(as_it_is)} of the loss of a constant as it "
            f"is, and {_percent(explains)} {with_it}, on rows that neither has seen."
        )
    else:
        ends = (
            f"On rows that it has not seen it explains {_percent(as_it_is)} of the loss of a constant then, "
            f"and {_percent(explains)} after {change.steps:,} steps."
        )
    return found(
        change.code,
        f"{change.message} {ends}",
        severity="error" if as_it_is < CLEAR * explains else "warning",
        layer=change.layer, patch=change.patch,
        **{"as_it_is": max(as_it_is, -9.99), "mended": explains, **change.evidence},  # type: ignore[arg-type]
    )  # fmt: skip


def _changed(setup: Setup, chosen: tuple[Change, ...]) -> Setup:
    setup = setup.copied()
    for change in chosen:
        assert change.patch.mend is not None
        setup = change.patch.mend(setup)
    return setup


def _percent(share: float) -> str:
    return "none" if share <= 0.005 else f"{share:.0%}"


def _best(
    stage: Stage, setup: Setup, done: set[str], as_it_is: float
) -> tuple[tuple[Change, ...], float] | None:
    """The first of the changes that explain nearly as much as the best, if it is worth a finding."""
    possible = [one for one in changes(stage, setup) if one.code not in done and one.patch.mend is not None]
    start = max(as_it_is, 0.0)
    gain, share = (FURTHER, FURTHER_SHARE) if done else (GAIN, SHARE)
    best = _first_of_best(stage, setup, [(one,) for one in possible], start)
    if best is not None and best[1] - start >= gain and start <= share * best[1]:
        return best
    if as_it_is > STILL or done:
        return None
    of_network = [one for one in possible if one.code not in OF_RUN]
    of_run = [one for one in possible if one.code in OF_RUN]
    best = _first_of_best(stage, setup, [(a, b) for a in of_network for b in of_run], start)
    return best if best is not None and best[1] - start >= OF_PAIRS else None


def _first_of_best(
    stage: Stage, setup: Setup, several: list[tuple[Change, ...]], start: float
) -> tuple[tuple[Change, ...], float] | None:
    """Of changes or pairs, the first that explains nearly as much as the best, and how much."""
    tried = []
    for chosen in several:
        n_steps = next((one.steps for one in chosen if one.steps is not None), stage.steps_of_a_change)
        tried.append((chosen, after(stage, _changed(setup, chosen), n_steps)))
    if not tried:
        return None
    most = max(explains for _, explains in tried)
    return next(one for one in tried if one[1] >= most - 0.1 * max(most - start, 0.0))


OF_RUN = ("rate-too-high", "rate-too-low", "too-few-steps")


def changes(stage: Stage, setup: Setup) -> Iterator[Change]:
    """What may be wrong, the likeliest first."""
    yield from _scales(stage, setup)
    yield from _activations(setup)
    yield from _starts(setup)
    yield from _rates(stage, setup)
    yield from _lengths(stage, setup)


def _scales(stage: Stage, setup: Setup) -> Iterator[Change]:
    x = setup.x
    if isinstance(x, Tensor) and x.is_floating_point() and x.ndim == 2:
        mean, spread = x.mean(0), x.std(0)
        spread = torch.where(spread > 0, spread, torch.ones_like(spread))
        far = float((mean / spread).abs().max())
        size = float(spread.max()), float(spread.min())
        if far > 2 or size[0] > 3 or size[1] < 0.1:
            yield Change(
                "unscaled-inputs",
                f"Columns of x have spreads from {size[1]:.3g} to {size[0]:.3g} and means up to {far:.3g} "
                "spreads from 0.",
                with_scaled_inputs(mean, spread),
                {"least_spread": size[1], "largest_spread": size[0], "farthest_mean": far},
            )
    y = setup.y
    if stage.kind in ("squared", "absolute") and isinstance(y, Tensor):
        t = Targets.of(y)
        mean, spread = y.double().mean(0).to(y.dtype), y.double().std(0).to(y.dtype)
        far, size_y = float((t.values.mean(0) / t.values.std(0)).abs().max()), float(t.values.std(0).max())
        if size_y > 0 and (far > 2 or size_y > 3 or size_y < 0.1):
            yield Change(
                "unscaled-target",
                f"Targets have mean {float(t.values.mean()):.3g} and spread {size_y:.3g}; a new network's "
                "outputs are near 0.",
                with_scaled_target(mean, spread),
                {"mean": float(t.values.mean()), "spread": size_y},
            )


def _activations(setup: Setup) -> Iterator[Change]:
    scene = Scene.of(setup)
    chain = linear_chain(scene)
    if chain:
        yield Change(
            "no-nonlinearity",
            f"Layers {', '.join(map(repr, chain))} with nothing but straight lines between them are "
            "one linear layer.",
            bent(setup.net, chain[:-1]),
            {"layers": len(chain)},
            chain[0],
        )
    bounded = bounded_activations(scene)
    if len(bounded) >= 2:
        yield Change(
            "saturated-units",
            f"{len(bounded)} bounded activations in a row ({', '.join(map(repr, bounded[:4]))}) let little "
            "gradient through.",
            rectified(bounded),
            {"activations": len(bounded)},
            bounded[0],
        )


def _starts(setup: Setup) -> Iterator[Change]:
    """Weights drawn far too large or too small."""
    sizes = {
        name: float(layer.weight.detach().std()) * layer.in_features**0.5
        for name, layer in setup.net.named_modules()
        if isinstance(layer, nn.Linear) and layer.weight.numel() > 8 and layer.weight.requires_grad
    }
    odd = {name: size for name, size in sizes.items() if not SIZES[0] <= size <= SIZES[1]}
    if odd:
        name, size = next(iter(odd.items()))
        yield Change(
            "odd-start",
            f"Weights of {len(odd)} layers were drawn {size / 0.577:.2g} times as large as PyTorch does "
            f"(layer {name!r}).",
            DRAWN_ANEW,
            {"size": size / 0.577},
            name,
        )


def _rates(stage: Stage, setup: Setup) -> Iterator[Change]:
    rates = [group["lr"] for group in setup.optimizer.param_groups if "lr" in group]
    if not rates or len(set(rates)) > 1 or isinstance(rates[0], Tensor):
        return
    lr = rates[0]
    knows_length = stage.setup.epochs is not None
    for factor in (0.1, 0.01, 0.001):
        yield _rate("rate-too-high", lr, factor)
    if knows_length and stage.full <= stage.longest:
        for factor in (10.0, 100.0):
            yield _rate("rate-too-low", lr, factor)
        if not isinstance(setup.optimizer, torch.optim.Adam | torch.optim.AdamW):
            yield Change(
                "rate-too-low", f"{type(setup.optimizer).__name__} at {lr:g} moves the weights little.",
                with_adam(), {"lr": lr},
            )  # fmt: skip


def _rate(code: str, lr: float, factor: float) -> Change:
    message = f"The learning rate is {lr:g}; {lr * factor:g} does better."
    return Change(code, message, with_rate(lr * factor), {"lr": lr, "better": lr * factor})


def _lengths(stage: Stage, setup: Setup) -> Iterator[Change]:
    if stage.setup.epochs is None or stage.full >= stage.n_steps or stage.full < 1:
        return
    more = math.ceil(max(stage.n_steps, min(stage.longest, 5 * stage.full)) / stage.full)
    epochs = stage.setup.epochs * more
    if more < 2:
        return
    yield Change(
        "too-few-steps",
        f"{stage.setup.epochs} epochs of batches of {setup.rows_a_step} rows are {stage.full} updates "
        "in all.",
        with_settings(epochs=epochs),
        {"steps": stage.full, "epochs": epochs},
        steps=stage.full * more,
    )


def compare(setup: Setup, mended: Setup) -> dict[str, float] | None:
    """What a run and its mended twin come to: shares of a constant's loss explained on rows held out.

    None where the loss is none of those that a constant's is known of.
    """
    scene = Scene.of(mended)
    stage = None if scene.refusal is not None else Stage.of(mended, scene.core.name)
    if stage is None:
        return None
    first = Scene.of(setup)
    own = None if first.refusal is not None else Stage.of(setup, first.core.name)
    as_it_is = -math.inf if own is None else after(own, own.setup, own.steps_as_it_is)
    return {"as_it_is": as_it_is, "mended": after(stage, stage.setup, stage.steps_as_it_is)}
