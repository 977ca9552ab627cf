"""C99: one file that takes raw columns, without memory of its own and without any library but math.h."""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from multilayer.errors import counted
from multilayer.export.c.compiler import Compiled
from multilayer.export.c.encoder import EncoderSource, refuse
from multilayer.export.c.link import linked
from multilayer.export.c.network import NetworkSource
from multilayer.export.c.source import Constants, comment, functions_for, identifiers, number, quoted
from multilayer.export.kept import made_up_rows
from multilayer.export.networks import steps_of_networks
from multilayer.export.outputs import names_of_outputs
from multilayer.export.parity import said_by_model
from multilayer.export.target import Artefact, Settings, Target
from multilayer.export.typed import Input, inputs_of, typed
from multilayer.model.model import Model
from multilayer.table.kinds import kind_of
from multilayer.table.sources.names import listed
from multilayer.table.sources.read import Table
from multilayer.table.steps import Cosine, Sine, Vectors

ONE_ROUNDING = 2.0**-23  # of a sine or logarithm that math.h rounds otherwise than NumPy, in float32
_KINDS = {
    "text": "const char *",
    "date": "int64_t ",
    "written": "int64_t ",
    "number": "double ",
    "exposure": "double ",
}
_MISSING = {
    "text": 'UTF-8; NULL or "" is missing',
    "date": "microseconds since 1970 in UTC; INT64_MIN is missing",
    "written": "what clock and calendar of the text show, in microseconds since 1970",
    "number": "NAN is missing",
    "exposure": "what the prediction is multiplied with",
}
_HEAD = """\
/* {about}

   Compile it with the rest of a program, as C99 and with -lm. It takes no memory but its stack, keeps no
   state, and may be called by several threads. -ffast-math would change what it says, and is refused.

   It can check itself: cc -std=c99 -O2 -DMULTILAYER_VERIFY {name} -lm && ./a.out */

#include <math.h>
#include <stdint.h>
#include <string.h>

#if defined(__FAST_MATH__)
#error "compile without -ffast-math: missing values are NAN"
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16
#error "compile with -msse2 -mfpmath=sse: sums would be rounded otherwise"
#endif
#if defined(__clang__) || !defined(__GNUC__)
#pragma STDC FP_CONTRACT OFF
#elif !defined(__STRICT_ANSI__)
#pragma GCC optimize("fp-contract=off") /* with -std=c99 it is off */
#endif
"""
_DATE = """\
/* Microseconds since 1970 of a date in the calendar of today. */
int64_t multilayer_date(int year, int month, int day, int hour, int minute, int second)
{
    const int64_t y = (int64_t)year - (month <= 2);
    const int64_t era = (y >= 0 ? y : y - 399) / 400, of_era = y - era * 400;
    const int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    const int64_t days = era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
    return ((days * 24 + hour) * 3600 + (int64_t)minute * 60 + second) * 1000000;
}
"""


class _Source:
    """A model as text."""

    def __init__(self, model: Model, kept: Table) -> None:
        self.model = model
        self.inputs = inputs_of(model.encoder, model.exposure)
        self.fields = identifiers([each.name for each in self.inputs])
        self.constants = Constants()
        names = {each.name: field for each, field in zip(self.inputs, self.fields, strict=True)}
        self.encoder = EncoderSource(model.encoder, self.inputs, names, self.constants)
        networks = steps_of_networks(model)
        self.networks = NetworkSource(networks, self.encoder.n_columns, self.constants)
        self.shape = model.task.link(np.zeros((1, model.task.n_outputs), np.float32)).shape[1:]
        self.n_outputs = int(np.prod(self.shape))
        self._kept = kept
        self.text = self._text()

    @property
    def n_stack(self) -> int:
        """Bytes of the arrays of a prediction."""
        n_floats = self.encoder.n_columns + self.networks.n_floats + self.model.task.n_outputs
        texts = [s.vectors for c in self.model.encoder.coders for _, chain in c.outputs for s in chain
                 if isinstance(s, Vectors)]  # fmt: skip
        of_text = max((2 * len(each.buckets) + 8 * (each.width + 1) for each in texts), default=0)
        return 4 * n_floats + 8 * self.n_outputs + of_text

    def _text(self) -> str:
        public = "\n\n".join([self._encode(), *self.networks.functions, self._predict()])
        verified = self._verified()
        date = [_DATE] if any(each.role == "date" for each in self.inputs) else []
        head = _HEAD.format(about=self._about(), name="model.c")
        parts = [head, self._types(), *date, str(self.constants), functions_for(public), public, verified]
        return "\n".join(part.rstrip("\n") + "\n" for part in parts)

    def _about(self) -> str:
        model = self.model
        sha = hashlib.sha256(model.to_bytes()).hexdigest()
        return comment(
            f"Predicts {listed(model.targets)} ({model.task.kind}) from "
            f"{counted(len(model.schema.names), 'raw column')}. Written by multilayer "
            f"{version('multilayer')} from the model of SHA-256 {sha}."
        )

    def _types(self) -> str:
        lines = ["typedef struct {"]
        columns = {column.name: column for column in self.model.schema.columns}
        for each, field in zip(self.inputs, self.fields, strict=True):
            column = columns.get(each.column)
            said = f"{each.column!r}: {_MISSING[each.role]}"
            if column is not None and column.levels:
                said += f"; {listed(column.levels[:12])}{', ...' if len(column.levels) > 12 else ''}"
            elif each.role == "number" and column is not None:
                said += {"boolean": "; 0 or 1", "number": ""}.get(kind_of(column).name, "; in seconds")
            lines.append(f"    {_KINDS[each.role]}{field}; /* {comment(said)} */")
        if not self.inputs:
            lines.append("    char nothing;")
        lines += ["} multilayer_row;", ""]
        lines.append(
            "enum "
            f"{{ MULTILAYER_COLUMNS = {self.encoder.n_columns}, MULTILAYER_OUTPUTS = {self.n_outputs} }};"
        )
        lines.append(f"\n/* {comment(self._of_outputs())} */")
        lines.append(
            f"const char *const multilayer_outputs[MULTILAYER_OUTPUTS] = {{"
            f"{', '.join(map(quoted, names_of_outputs(self.model)))}}};"
        )
        return "\n".join(lines)

    def _of_outputs(self) -> str:
        task = self.model.task
        if task.kind == "multilabel":
            return "Probability that each label holds."
        if task.has_probabilities:
            return "Probability of each class."
        return "Quantiles, in ascending order." if self.model.quantiles else "Predicted numbers."

    def _encode(self) -> str:
        return "\n".join([
            "/* 0, or the place from 1 of the first value that its column cannot hold: an infinite number,",
            "   a boolean that is neither 0 nor 1, a time beyond the day, free text with letters beyond",
            "   ASCII. */",
            "int multilayer_encode(const multilayer_row *row, float *x)",
            "{",
            "    (void)row;",
            *self.encoder.lines,
            "    return 0;",
            "}",
            "",
            "int multilayer_columns(void)",
            "{",
            "    return MULTILAYER_COLUMNS;",
            "}",
        ])  # fmt: skip

    def _predict(self) -> str:
        model = self.model
        n_nets = len(self.networks.calls)
        weights = [1.0] * n_nets if model.weights is None else list(model.weights)
        lines, n = linked(model.task.link_steps, model.task.n_outputs)
        assert n == self.n_outputs, (n, self.shape)
        room = max(n, model.task.n_outputs)
        text = [
            "/* Adds what a network says, with its weight. */",
            "static void add_linked(const float *y, double weight, double *output)",
            "{",
            f"    double v[{room}];",
            "    uint32_t i;",
            *(f"    {line}" for line in lines),
            f"    for (i = 0; i < {n}; i++) output[i] += weight * v[i];",
            "}",
            "",
            "/* Returns what multilayer_encode does; output then is NAN if that is not 0. */",
            "int multilayer_predict(const multilayer_row *row, double *output)",
            "{",
            "    float x[MULTILAYER_COLUMNS + 1];",
            f"    float s[{self.networks.n_floats}];",
            f"    float y[{model.task.n_outputs}];",
            "    const int strange = multilayer_encode(row, x);",
            "    int i;",
            "    for (i = 0; i < MULTILAYER_OUTPUTS; i++) output[i] = strange ? NAN : 0;",
            "    if (strange) return strange;",
        ]
        for call, weight in zip(self.networks.calls, weights, strict=True):
            text += [f"    {call}", f"    add_linked(y, {number(weight)}, output);"]
        text.append(f"    for (i = 0; i < MULTILAYER_OUTPUTS; i++) output[i] /= {number(sum(weights))};")
        for each, field in zip(self.inputs, self.fields, strict=True):
            if each.role == "exposure":
                text.append(f"    for (i = 0; i < MULTILAYER_OUTPUTS; i++) output[i] *= row->{field};")
        return "\n".join([*text, "    return 0;", "}"])

    def _verified(self) -> str:
        rows = self._kept.take(_whole(self.model, self._kept))
        if not rows.n_rows:
            rows = made_up_rows(self.model)
        values = typed(self.inputs, self.model.schema, rows)
        said = said_by_model(self.model, rows)
        encoded = said.encoded
        assert encoded is not None
        given = []
        for i in range(rows.n_rows):
            cells = [_literal(each, values[each.name][i]) for each in self.inputs] or ["0"]
            given.append(f"        {{{', '.join(cells)}}}")
        unit = np.ones(1)
        if not self.model.task.has_probabilities:
            ends = (np.full((1, self.model.task.n_outputs), end, np.float32) for end in (0.0, 1.0))
            low, high = map(self.model.task.link, ends)
            unit = np.abs(high - low).ravel()
        expected = [
            "        {" + ", ".join(map(number, row)) + "}"
            for row in said.prediction.reshape(rows.n_rows, -1)
        ]
        units = ", ".join(map(number, np.broadcast_to(unit, self.n_outputs)))
        return "\n".join([
            "#if defined(MULTILAYER_VERIFY)",
            "#include <stdio.h>",
            "",
            "/* Rows of the model, and what the library says of them. */",
            "int main(void)",
            "{",
            f"    static const multilayer_row rows[{rows.n_rows}] = {{",
            ",\n".join(given) + "};",
            f"    static const double expected[{rows.n_rows}][MULTILAYER_OUTPUTS] = {{",
            ",\n".join(expected) + "};",
            f"    static const double unit[MULTILAYER_OUTPUTS] = {{{units}}};",
            "    double largest = 0, output[MULTILAYER_OUTPUTS];",
            "    int i, j, n_strange = 0;",
            f"    for (i = 0; i < {rows.n_rows}; i++) {{",
            "        n_strange += multilayer_predict(rows + i, output) != 0;",
            "        for (j = 0; j < MULTILAYER_OUTPUTS; j++) {",
            "            const double size = fabs(expected[i][j]) + unit[j];",
            "            const double difference = fabs(output[j] - expected[i][j]) / size;",
            "            if (!(difference <= largest)) largest = difference;",
            "        }",
            "    }",
            f'    printf("largest difference on {rows.n_rows} rows: %.2g\\n", largest);',
            "    return n_strange || !(largest <= 1e-6);",
            "}",
            "#endif",
        ])  # fmt: skip


def _whole(model: Model, drawn: Table) -> Any:
    """Rows whose free text is ASCII."""
    kept = np.ones(drawn.n_rows, bool)
    for column in model.schema.columns:
        if kind_of(column).is_free_text:
            kept &= np.array([text is None or text.isascii() for text in drawn[column.name].tolist()])
    return np.flatnonzero(kept)


def _literal(each: Input, value: Any) -> str:
    if each.role == "text":
        return quoted(value)
    if each.role in ("date", "written"):
        return "INT64_MIN" if value == -(2**63) else str(int(value))
    return "NAN" if np.isnan(value) else number(float(value))


def _has_sines(model: Model) -> bool:
    chains: Sequence[Any] = [chain for coder in model.encoder.coders for _, chain in coder.outputs]
    return any(isinstance(step, Sine | Cosine | Vectors) for chain in chains for step in chain)


def make(model: Model, settings: Settings, kept: Table) -> Artefact:
    """The file of a model, compiled and loaded.

    Raises:
        ConfigError: there is no C compiler here to check it, or the model has what C cannot do.
        OutputError: the compiler refuses it.
    """
    refuse(model.encoder)
    source = _Source(model, kept)
    run = Compiled(source.text, source.inputs, source.fields, source.shape)
    notes = [
        f"flash: {source.constants.n_bytes:,} bytes of tables and weights; stack: {source.n_stack:,} bytes",
        f"fields: {', '.join(source.fields)}; outputs: {', '.join(names_of_outputs(model)[:8])}",
    ]
    if any(kind_of(column).is_free_text for column in model.schema.columns):
        notes.append(
            "free text is read in ASCII: of other letters the answer is NAN, and the function says so"
        )
    return Artefact(
        source.text.encode(),
        source.inputs,
        run,
        most_encoder=ONE_ROUNDING if _has_sines(model) else 0.0,
        notes=tuple(notes),
    )


C = Target(
    name="c",
    ending=".c",
    what="one file of C99, without memory of its own or any library but math.h",
    takes=frozenset(),
    make=make,
    checked_by="Compile it with -DMULTILAYER_VERIFY and run it: "
    "it predicts its own rows, and ends with status 1 if they differ.",
)
