"""`Finding` and `Findings`: what the doctor found, as data that prints itself and mends."""

import html
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from multilayer.diagnosis.codes import CODES, SEVERITIES, Severity
from multilayer.errors import ConfigError, counted, nearest

WIDTH = 100  # characters of a printed line


@dataclass(frozen=True)
class Patch:
    """What mends a fault.

    lines: the change as Python, to read or to paste
    mend:  makes the change; gets what it may alter and gives it back mended. None where it is left to you
    """

    lines: str
    mend: Callable[[Any], Any] | None = None


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong, where, by which numbers, and what mends it. `ml.doctor` makes them.

    code:      stable name of what was found, such as "constant-output"; `docs/doctor/` has a page for each
    message:   what is wrong, in a sentence with its numbers
    severity:  "error" (surely wrong), "warning" (very likely), "note" (worth knowing)
    evidence:  the numbers, by name
    layer:     name of the layer, as in `net.named_modules()`
    group:     number of the optimiser's group
    column:    name or number of the column
    patch:     the change that mends it
    subject:   what was examined, which `apply` mends a copy of
    gain:      what the mended twin gained, where `doctor(verify=True)` trained one

    >>> import torch
    >>> from torch import nn
    >>> net = nn.Sequential(nn.Linear(2, 1), nn.Softmax(dim=1))
    >>> from multilayer.diagnosis.doctor import doctor
    >>> x = torch.randn(64, 2)
    >>> finding = doctor(net, x, (x[:, :1] > 0).float(), loss=nn.BCELoss())[0]
    >>> finding.code, finding.fault, finding.severity
    ('constant-output', 'O1', 'error')
    >>> finding.apply().net[1], net[1]
    (Sigmoid(), Softmax(dim=1))
    """

    code: str
    message: str
    severity: Severity
    evidence: Mapping[str, Any] = field(default_factory=dict)
    layer: str | None = None
    group: int | None = None
    column: str | None = None
    patch: Patch | None = None
    subject: Any = field(default=None, repr=False, compare=False)
    gain: Mapping[str, float] | None = None

    @property
    def fault(self) -> str:
        """The class of the fault, such as "O1"."""
        return CODES[self.code].fault

    @property
    def title(self) -> str:
        """What it is, in a few words."""
        return CODES[self.code].title

    @property
    def why(self) -> str:
        """Why it matters."""
        return CODES[self.code].why

    @property
    def fix(self) -> str:
        """The change that mends it, as Python; empty where there is none."""
        return "" if self.patch is None else self.patch.lines

    @property
    def page(self) -> str:
        """Its page in the documentation."""
        return f"doctor/{self.code}"

    def apply(self, *, in_place: bool = False) -> Any:
        """What was examined, mended: a `Setup` of network, data, loss, optimiser and settings, or the rows.

        Args:
            in_place: alter the network, loss and optimiser that were examined, instead of copies of them.

        Raises:
            ConfigError: this finding has no patch that could be applied; `fix` says what to do.
        """
        if self.patch is None or self.patch.mend is None:
            raise ConfigError(f"{self.code} has no patch that could be applied. {self.fix or self.why}")
        return self.patch.mend(self.subject if in_place else copied(self.subject))

    def to_json(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        names = ("code", "fault", "severity", "title", "message", "why", "fix", "page")
        found = {name: getattr(self, name) for name in names}
        found |= {"evidence": dict(self.evidence), "layer": self.layer, "group": self.group}
        found |= {"column": self.column, "can_apply": bool(self.patch and self.patch.mend)}
        return found | ({} if self.gain is None else {"gain": dict(self.gain)})

    def __str__(self) -> str:
        head = f"{self.severity}: {self.title} [{self.code}]"
        body = textwrap.fill(f"{self.message} {self.why}", WIDTH, initial_indent="  ", subsequent_indent="  ")
        lines = [head, body]
        if self.fix:
            lines += ["  Change:", textwrap.indent(self.fix, "      ")]
        if self.gain is not None:
            lines.append(f"  Trained with it, {_gain_in_words(self.gain)}.")
        return "\n".join(lines)


class Findings(Sequence[Finding]):
    """Findings, worst first. Print them, iterate over them, `apply` them all, or write them `to_json`.

    >>> Findings([]), len(Findings([])), Findings([]).errors
    (Nothing found., 0, [])
    """

    def __init__(self, findings: Iterable[Finding], subject: Any = None) -> None:
        self._findings = sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
        self.subject = subject

    def __len__(self) -> int:
        return len(self._findings)

    def __iter__(self) -> Iterator[Finding]:
        return iter(self._findings)

    def __getitem__(self, key: Any) -> Any:
        """By place, or the first of a code.

        Raises:
            KeyError: nothing of that code was found.
        """
        if not isinstance(key, str):
            return self._findings[key]
        for finding in self._findings:
            if finding.code == key:
                return finding
        raise KeyError(f"nothing of code {key!r} was found.{nearest(key, self.codes)}")

    @property
    def codes(self) -> list[str]:
        """Codes, worst first."""
        return [finding.code for finding in self]

    @property
    def errors(self) -> list[Finding]:
        """What is surely wrong."""
        return [finding for finding in self if finding.severity == "error"]

    @property
    def warnings(self) -> list[Finding]:
        """What is very likely wrong."""
        return [finding for finding in self if finding.severity == "warning"]

    def apply(self, *, in_place: bool = False) -> Any:
        """What was examined, with every error and warning mended that has a patch, in their order."""
        subject = self.subject if in_place else copied(self.subject)
        for finding in self:
            if finding.severity != "note" and finding.patch is not None and finding.patch.mend is not None:
                subject = finding.patch.mend(subject)
        return subject

    def to_json(self) -> list[dict[str, Any]]:
        """Plain values, for JSON."""
        return [finding.to_json() for finding in self]

    def without(self, ignore: Iterable[str]) -> "Findings":
        """Without those of these codes."""
        left_out = set(ignore)
        return Findings([one for one in self if one.code not in left_out], self.subject)

    def __repr__(self) -> str:
        if not self._findings:
            return "Nothing found."
        return "\n\n".join([*map(str, self), self._count()])

    def _repr_html_(self) -> str:
        def item(finding: Finding) -> str:
            fix = f"<pre>{html.escape(finding.fix)}</pre>" if finding.fix else ""
            text = html.escape(f"{finding.message} {finding.why}")
            head = html.escape(f"{finding.severity}: {finding.title}")
            return f"<li><b>{head}</b> <code>{finding.code}</code><p>{text}</p>{fix}</li>"

        return (
            f"<ol>{''.join(map(item, self))}</ol><p>{self._count()}</p>" if self else "<p>Nothing found.</p>"
        )

    def _count(self) -> str:
        counts = [(sum(one.severity == name for one in self), name) for name in SEVERITIES]
        return ", ".join(counted(n, name) for n, name in counts if n) + "."


def found(
    code: str,
    message: str,
    *,
    subject: Any = None,
    severity: Severity | None = None,
    patch: Patch | None = None,
    layer: str | None = None,
    group: int | None = None,
    column: str | None = None,
    **evidence: Any,
) -> Finding:
    """A finding of a code in `CODES`, with the severity that it has as a rule."""
    numbers = {name: _plain(value) for name, value in evidence.items()}
    return Finding(
        code, message, severity or CODES[code].severity, numbers, layer, group, column, patch, subject
    )


def check_codes(ignore: Iterable[str]) -> tuple[str, ...]:
    """Codes to leave out.

    Raises:
        ConfigError: one is unknown.

    >>> check_codes("dead-units")
    ('dead-units',)
    """
    codes = (ignore,) if isinstance(ignore, str) else tuple(ignore)
    for code in codes:
        if code not in CODES:
            raise ConfigError(f"ignore must hold codes of findings; got {code!r}.{nearest(code, CODES)}")
    return codes


def copied(subject: Any) -> Any:
    """A copy that may be altered, of what knows how to copy itself."""
    return subject.copied() if hasattr(subject, "copied") else subject


def with_subject(findings: Iterable[Finding], subject: Any) -> list[Finding]:
    """The same findings about this subject."""
    return [replace(finding, subject=subject) for finding in findings]


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _gain_in_words(gain: Mapping[str, float]) -> str:
    mended, as_it_is = _share(gain["mended"]), _share(gain["as_it_is"])
    return f"it explains {mended} of the loss of a constant, and {as_it_is} as it is"


def _share(value: float) -> str:
    return "none" if value <= 0.005 else f"{value:.0%}"
