"""Everything that the doctor can find: `CODES` has a row for each finding, with its fault class."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "note")  # worst first


@dataclass(frozen=True)
class Code:
    """One kind of finding. `docs/doctor/` has a page of the same name for each.

    fault:    its class, which several codes may share: O for outputs against loss and targets, A for layers,
              L for the loss, T for the run, D for data, N for what never ran, P for parameters, M for modes,
              G for the training loop, C for columns of a table
    severity: as a rule; a finding may be milder where its evidence is
    title:    in a few words
    why:      why it matters, in a sentence
    """

    fault: str
    severity: Severity
    title: str
    why: str


# A finding is a row here, a check that makes it (`CHECKS` in doctor.py, watch.py or table_checks.py), and a
# page in docs/doctor/.
CODES: dict[str, Code] = {
    # the end of the network against loss and targets
    "constant-output": Code(
        "O1", "error", "the output is constant",
        "Its gradient is exactly zero, so no layer before it can learn.",
    ),
    "softmax-on-numbers": Code(
        "O2", "error", "softmax before numbers",
        "Shares that sum to one cannot follow numbers that do not.",
    ),
    "output-out-of-reach": Code(
        "O3", "error", "targets out of the output's reach",
        "However long it trains, the network cannot say the numbers that it is to predict.",
    ),
    "bounded-logits": Code(
        "O4", "error", "bounded outputs into cross-entropy",
        "Cross-entropy takes a softmax of what it gets; of bounded numbers no class can become certain.",
    ),
    "rectified-logits": Code(
        "O5", "error", "rectified outputs for classes",
        "A negative output becomes zero and has no gradient: classes can be lost for good.",
    ),
    "logits-for-probabilities": Code(
        "O6", "error", "unbounded outputs where probabilities are expected",
        "The logarithm of a number outside 0 to 1 is no likelihood: the loss fails, or falls without end.",
    ),
    "one-output-for-classes": Code(
        "O7", "error", "one output for several classes",
        "The softmax of a single output is 1 whatever the row is: the loss is zero from the start.",
    ),
    "labels-out-of-range": Code(
        "O8", "error", "labels that the loss does not know",
        "The loss is minimal at a place that means nothing, or PyTorch refuses the labels.",
    ),
    "labels-do-not-fit-outputs": Code(
        "O9", "error", "labels and outputs of different shapes",
        "Each output needs its own target, and each row its own label.",
    ),
    "probabilities-into-logits": Code(
        "O10", "error", "probabilities where the loss expects logits",
        "The loss squashes them a second time: it cannot come near its minimum, and gradients shrink.",
    ),
    "target-broadcast": Code(
        "O11", "error", "output and target broadcast",
        "Every output is compared with every target, so that the network learns the mean of all rows.",
    ),
    "softmax-over-rows": Code(
        "O12", "error", "softmax over the rows of a batch",
        "Each row's output hangs on the rows beside it, and rows share one unit of probability.",
    ),
    "swapped-inputs": Code(
        "T1", "error", "inputs and targets look swapped",
        "The network would learn to predict the inputs from the answers.",
    ),
    "squared-error-on-classes": Code(
        "L1", "warning", "squared error on class probabilities",
        "Where the network is sure and wrong its gradient vanishes, so that such rows are learnt last.",
    ),
    "surplus-outputs": Code(
        "O13", "note", "more outputs than classes",
        "Outputs of classes that never occur only learn to be small.",
    ),
    "cannot-run": Code(
        "O14", "error", "network, loss and data do not fit",
        "PyTorch refuses the first step.",
    ),
    # parameters and modes
    "parameters-not-in-optimizer": Code(
        "P1", "error", "the optimiser does not hold all that trains",
        "What it does not hold stays as it was drawn.",
    ),
    "hidden-layers": Code(
        "P2", "error", "layers that PyTorch does not see",
        "Layers in a plain list or dict are no parameters of the network: they do not train and are "
        "not saved.",
    ),
    "nothing-trains": Code(
        "P3", "error", "no parameter can train",
        "All are frozen, or none has a gradient.",
    ),
    "frozen-end": Code(
        "P4", "warning", "the last layer is frozen",
        "What a new task is to learn has to pass a layer that was not made for it.",
    ),
    "equal-weights": Code(
        "P5", "error", "units that begin alike stay alike",
        "Equal weights get equal gradients, so that a whole layer counts as one unit.",
    ),
    "detached": Code(
        "P6", "error", "gradients do not reach a layer",
        "Something on the way (detach, item, NumPy, argmax, no_grad) cuts the graph.",
    ),
    "eval-mode": Code(
        "M1", "warning", "the network trains in eval()",
        "Dropout drops nothing and BatchNorm keeps statistics that it never learnt.",
    ),
    "one-row-batches": Code(
        "M2", "error", "BatchNorm with one row in a batch",
        "One row has no spread to normalise by.",
    ),
    "dropped-output": Code(
        "M3", "error", "dropout on the output",
        "Part of the predictions is set to zero at random, which no weights can make up for.",
    ),
    # layers
    "no-nonlinearity": Code(
        "A1", "error", "layers without a nonlinearity between them",
        "Linear layers in a row are one linear layer.",
    ),
    "saturated-units": Code(
        "A2", "warning", "gradients fade on their way back",
        "The first layers hardly move while the last one learns.",
    ),
    "dead-units": Code(
        "A3", "warning", "units that are zero for every row",
        "They have no gradient, and nothing brings them back.",
    ),
    "odd-start": Code(
        "A4", "warning", "weights that begin far too large or too small",
        "The first steps only undo their size, or gradients fade from layer to layer.",
    ),
    "relu-before-batchnorm": Code(
        "A5", "note", "ReLU before BatchNorm",
        "Every row in which a unit is off comes out as one same value; after the linear layer it would not.",
    ),
    # data
    "not-finite": Code(
        "D2", "error", "values that are not finite",
        "One NaN in a batch makes every weight NaN.",
    ),
    "unscaled-inputs": Code(
        "D1", "error", "inputs of very unequal or large scale",
        "One rate cannot suit all columns: large ones saturate or explode, small ones are not seen.",
    ),
    "unscaled-target": Code(
        "D1", "error", "targets far from where the network begins",
        "Most of the run goes into reaching their size.",
    ),
    # the run
    "never-trained": Code(
        "N1", "error", "nothing trains the network",
        "It predicts with the weights that were drawn.",
    ),
    "too-few-steps": Code(
        "T1", "error", "the run ends before the network has learnt",
        "More updates, by more epochs or smaller batches, would go on improving it.",
    ),
    "rate-too-low": Code(
        "T1", "error", "the learning rate is too low",
        "The weights hardly move in the steps that there are.",
    ),
    "rate-too-high": Code(
        "T1", "error", "the learning rate is too high",
        "Steps leap over the minimum: the loss jumps, or units die.",
    ),
    "cannot-learn-a-batch": Code(
        "T2", "warning", "one batch cannot be learnt by heart",
        "What cannot be learnt from a few rows at many steps will not be learnt from many.",
    ),
    # the training loop
    "gradients-not-cleared": Code(
        "G1", "error", "gradients are not cleared",
        "PyTorch adds each gradient to the ones before: steps follow the sum of all batches so far.",
    ),
    "gradients-cleared-early": Code(
        "G2", "error", "gradients are cleared before they are used",
        "The optimiser steps with nothing, or with the last of several batches alone.",
    ),
    "step-before-backward": Code(
        "G3", "error", "the optimiser steps before backward()",
        "Each step uses gradients of the batch before, or none.",
    ),
    "no-step": Code(
        "N1", "error", "the optimiser never steps",
        "Gradients are computed, and nothing is done with them.",
    ),
    "eval-not-restored": Code(
        "G4", "error", "eval() is not followed by train()",
        "From the first evaluation on, dropout and BatchNorm are off for training, too.",
    ),
    "no-gradient": Code(
        "G5", "error", "a layer gets no gradient",
        "It does not train. Something cuts the graph, or the layer is not used.",
    ),
    "weights-do-not-move": Code(
        "G6", "error", "steps do not change the weights",
        "The optimiser holds other tensors, its rate is zero, or gradients are.",
    ),
    "became-not-finite": Code(
        "G7", "error", "a number became NaN or infinite",
        "Everything after it is NaN, too.",
    ),
    "vanishing-gradients": Code(
        "A2", "warning", "gradients fade on their way back",
        "The first layers hardly move while the last one learns.",
    ),
    "exploding-gradients": Code(
        "G8", "warning", "gradients grow without bound",
        "A step as large as that undoes what was learnt.",
    ),
    "updates-too-small": Code(
        "T1", "warning", "updates are tiny beside the weights",
        "The network would need very many such steps to change at all.",
    ),
    # a table
    "identifier": Code(
        "C1", "warning", "a column that numbers the rows",
        "It names rows and says nothing of new ones; a network may learn it by heart.",
    ),
    "target-copy": Code(
        "C2", "error", "a column gives the target away",
        "The score is that of copying; where the column is not known in time, the model is worth nothing.",
    ),
    "duplicates-across-folds": Code(
        "C3", "warning", "equal rows on both sides of a split",
        "Where copies stand on both sides, rows that were trained on count as new.",
    ),
    "time-order": Code(
        "C4", "warning", "rows are in order of time",
        "Folds at random train on rows later than those they are judged by.",
    ),
    "constant-column": Code(
        "C5", "note", "a column that never varies",
        "It says nothing, and is left out.",
    ),
    "imbalance": Code(
        "C6", "warning", "one class is very rare",
        "Accuracy is high by always saying the other, and few rows tell what the rare one looks like.",
    ),
    "unseen-levels": Code(
        "C7", "warning", "categories whose values hardly repeat",
        "New rows bring values that the network has never seen, for which it has nothing.",
    ),
    "flipped-labels": Code(
        "C8", "warning", "labels that the other rows contradict",
        "Wrong labels teach wrong things, and spoil the score.",
    ),
    "unit-change": Code(
        "C9", "warning", "a column in two units",
        "Equal things have different numbers in different rows.",
    ),
    "swapped-columns": Code(
        "C10", "warning", "columns that change places among the rows",
        "The same column means different things in different rows.",
    ),
    "target-unit": Code(
        "C11", "warning", "the target in two units",
        "Some answers are a fixed factor away from those of rows like them.",
    ),
    "few-rows": Code(
        "C12", "warning", "hardly more rows than columns",
        "With as many columns as rows, chance alone explains any target.",
    ),
    "shift": Code(
        "C13", "warning", "rows to validate on differ from those to train on",
        "The score is of rows unlike those that were learnt from.",
    ),
}  # fmt: skip
