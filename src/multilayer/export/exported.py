"""Writing a model for machines that do not have the library: made, compared with it, and only then saved."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from multilayer.errors import ConfigError, OutputError, counted, nearest
from multilayer.export.drawn import drawn_table
from multilayer.export.kept import rows_to_keep
from multilayer.export.parity import Parity, cost_in_words, parity
from multilayer.export.target import Artefact, Settings, Target
from multilayer.export.targets import TARGETS
from multilayer.model.model import Model
from multilayer.output import check_writable, write_atomically

N_DRAWN = 2_000  # random rows that an artefact is compared on
ROUNDINGS = 4  # times the difference of two ways of the library, that an output may differ by
_SEED = 0
UNRUN = "not compared with the library here, as nothing on this machine runs it"


@dataclass(frozen=True)
class Exported:
    """What was written.

    path:   of the file; paths: of all files, where there are several
    n_bytes: of all of them
    parity: how close it comes to the library, on random rows; None where nothing here can run it
    on_rows: the same on the rows that were given; None without
    notes:  what else is to be known of it

    >>> from pathlib import Path
    >>> from multilayer.export.parity import Parity
    >>> print(Exported((Path("m.onnx"),), 1200, Parity(2000, 0.0, 2e-7), None, ()))
    m.onnx: 1,200 bytes; largest difference on 2,000 rows: encoder 0, output 2e-07
    """

    paths: tuple[Path, ...]
    n_bytes: int
    parity: Parity | None
    on_rows: Parity | None
    notes: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The file."""
        return self.paths[0]

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "out": [str(path) for path in self.paths],
            "n_bytes": self.n_bytes,
            "parity": None if self.parity is None else self.parity.to_json(),
            "on_rows": None if self.on_rows is None else self.on_rows.to_json(),
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        compared = UNRUN if self.parity is None else self.parity.in_words
        lines = [f"{_shown(self.path)}: {counted(self.n_bytes, 'byte')}; {compared}"]
        lines += [_shown(path) for path in self.paths[1:]]
        if self.on_rows is not None:
            lines.append(f"on the rows given: {self.on_rows.in_words}")
        return "\n".join([*lines, *self.notes])


def write(
    model: Model,
    to: str,
    out: str | Path,
    *,
    rows: Any = None,
    inputs: str = "columns",
    int8: bool = False,
    train_on: Any = None,
    author: str | None = None,
    license: str | None = None,
) -> Exported:
    """Write a model in one of the forms of `TARGETS`, for machines without this library.

    The file is compared with the library first, on 2,000 random rows that have missing, unseen and extreme
    values, and is not written unless it says the same: encoded rows to the last bit, predictions within 1e-6
    or, where the library itself rounds more, four times what its own ways to compute them differ by.

    Args:
        model: a fitted model.
        to: a name of `TARGETS`.
        out: the file to write.
        rows: a table with the columns of the fit, on which the two are compared as well; with the target, so
            that a loss of accuracy is told.
        inputs: of "onnx": "columns", an input for each column, or "packed", one for each type.
        int8: of "onnx": weights are rounded to 8 bits. What that costs is said, and nothing is refused.
        train_on: of "script": the table of the fit, so that the script trains the networks anew, too. It is
            tried, which takes some time, and what comes of it is said.
        author, license: of "onnx": `model_author` and `model_license` in the file's metadata, a licence by
            its SPDX name, as "BSD-3-Clause".

    Raises:
        ConfigError: an unknown form, a setting that it does not take, or a model that it cannot hold.
        MissingExtraError: a package that this form needs is not installed.
        OutputError: what was made does not say what the library says; or the file cannot be written.
    """
    target = _target(to)
    settings = _settings(target, inputs=inputs, int8=int8, train_on=train_on, author=author, license=license)
    path = check_writable(out)
    read = None if rows is None else model._read(rows, None)
    drawn = drawn_table(model.encoder, model.exposure, N_DRAWN, _SEED)
    artefact = target.make(model, settings, rows_to_keep(model))
    found = on_rows = None
    if artefact.run is not None:
        found = parity(model, artefact.inputs, drawn, artefact.run)
        on_rows = None if read is None else parity(model, artefact.inputs, read, artefact.run)
    for each in (found, on_rows):
        if each is not None:
            _refuse(target, artefact, each)
    notes = artefact.notes
    if settings.int8 and artefact.run is not None and read is not None and {*model.targets} <= {*read.names}:
        notes = (*notes, cost_in_words(model, artefact.inputs, read, artefact.run))
    files = {path: artefact.data}
    for ending, data in artefact.files.items():
        beside = check_writable(path.with_suffix(ending))
        if beside == path:
            raise ConfigError(
                f"a file ending in {ending} is written beside {path.name}. Choose another ending."
            )
        files[beside] = data
    for place, data in files.items():
        write_atomically(place, data)
    n_bytes = sum(map(len, files.values()))
    return Exported(tuple(files), n_bytes, found, on_rows, notes)


def _target(name: str) -> Target:
    if name not in TARGETS:
        raise ConfigError(
            f"a model can be written as {', '.join(TARGETS)}; got {name!r}.{nearest(str(name), TARGETS)}"
        )
    return TARGETS[name]


def _settings(target: Target, *, inputs: str, **others: Any) -> Settings:
    if inputs not in ("columns", "packed"):
        raise ConfigError(f"inputs must be 'columns' or 'packed'; got {inputs!r}.")
    settings: Any = Settings(inputs=inputs, **others)  # type: ignore[arg-type]
    for each in fields(Settings):
        if each.name not in target.takes and getattr(settings, each.name) is not each.default:
            takers = [name for name, other in TARGETS.items() if each.name in other.takes]
            raise ConfigError(
                f"{each.name} is a setting of {', '.join(takers)}; got it for {target.name}. Leave it out."
            )
    return settings


def _refuse(target: Target, artefact: Artefact, found: Parity) -> None:
    encoder = found.encoder or 0.0
    most = max(artefact.most_output, ROUNDINGS * found.rounding)
    if found.n_rows and encoder <= artefact.most_encoder and found.output <= most:
        return
    raise OutputError(
        f"an export to {target.name} must say what the library says (encoder within "
        f"{artefact.most_encoder:g}, output within {most:.2g}); {found.in_words}. Nothing was written. "
        "Please report this, with the model if you can."
    )


def _shown(path: Path) -> str:
    """A path as it is written from the present folder, where it is inside of it."""
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)
