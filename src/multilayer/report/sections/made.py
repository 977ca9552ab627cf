"""How it was made: what was decided, versions, seed, time, memory, and the code that fits it again."""

from collections.abc import Mapping
from html import escape
from typing import Any

from multilayer.report.subject import Subject
from multilayer.report.words import fold, items, number, paragraph, table

Facts = dict[str, Any]


def facts(subject: Subject, before: Mapping[str, Facts]) -> Facts:
    """What the summary of the fit holds of it."""
    model, summary = subject.model, subject.model.summary
    return {
        "decisions": list(summary.get("decisions", [])),
        "details": list(summary.get("details", [])),
        "seed": summary.get("seed"),
        "fitted": summary.get("times", {}).get("fitted"),
        "fit_s": summary.get("times", {}).get("fit_s"),
        "comparison_s": (summary.get("comparison") or {}).get("seconds"),
        "versions": dict(summary.get("versions", {})),
        "file_bytes": len(model.to_bytes()),
        "process_mb": _memory_mb(),
        "code": code_of(subject),
    }


def _memory_mb() -> float | None:
    """The most that this process has taken; None where the system does not say."""
    try:
        import resource
        import sys
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1e6 if sys.platform == "darwin" else 1e3)


def code_of(subject: Subject) -> str:
    """The call of `ml.fit` that makes the same model of the same table."""
    model = subject.model
    asked = dict(model.summary.get("asked", {}))
    target = asked.pop("target", None)
    lines, remarks = [], []
    if target is not None:
        lines.append(f"target={target!r}")
    for name, value in asked.items():
        if value is None:
            remarks.append(name)
            lines.append(f"{name}={name}")
        else:
            lines.append(f"{name}={value!r}")
    body = "".join(f"    {line},\n" for line in lines)
    known = f"# {', '.join(remarks)}: as it was then; no model keeps it\n" if remarks else ""
    return (
        f'import multilayer as ml\n\n{known}model = ml.fit(\n    "table.csv",  # the same'
        f' table\n{body})\nmodel.save("model.mlp")\n'
    )


def html(found: Facts) -> str:
    """Sentences, a table, code."""
    fitted = "–" if found["fitted"] is None else found["fitted"].replace("T", " ").replace("+00:00", " UTC")
    rows = [
        ["fitted", fitted],
        ["seconds", number(found["fit_s"])],
        ["seconds for the simple models", number(found["comparison_s"])],
        ["seed", str(found["seed"])],
        ["model file", f"{found['file_bytes'] / 1e6:.2f} MB"],
        [
            "most memory of the process that wrote this",
            "–" if found["process_mb"] is None else f"{found['process_mb']:,.0f} MB",
        ],
        *([name, version] for name, version in found["versions"].items()),
    ]
    code = (
        '<pre tabindex="0" aria-label="Code that fits the model'
        f' again"><code>{escape(found["code"])}</code></pre>'
    )
    return "".join(
        [
            "<h3>Decided</h3>",
            items(found["decisions"]),
            fold("Details of layers and training", items(found["details"])) if found["details"] else "",
            "<h3>The same again</h3>",
            code,
            paragraph(
                "The same table, seed and release of the library give the same model, bit for bit on the same"
                " kind of machine.",
                "note",
            ),
            table("Versions and time", ["", "value"], rows),
        ]
    )
