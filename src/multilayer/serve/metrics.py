"""What a server counts, as Prometheus reads it; workers share the memory in which they count."""

import mmap
from collections.abc import Iterator, Mapping, Sequence

from multilayer.serve.column_counts import WHAT

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
STATUSES = (200, 400, 401, 404, 405, 406, 408, 411, 413, 415, 422, 500, 503, 504)
# Seconds; a row takes some 0.0002, and 100,000 rows some seconds.
BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_NS = 1_000_000_000
_HELP_OF_COLUMNS = {
    "missing": "Cells without a value.",
    "unseen_level": "Cells with a level that the model does not tell apart.",
    "out_of_range": "Cells beyond the range of the training rows.",
}


class Metrics:
    """Counters of one server. Each worker adds to its own, and reads those of all.

    Args:
        routes: whose requests are counted.
        columns: name -> what is counted of it, of each column of the model, as `ColumnCounts.counted` says.
        n_workers: how many processes count.
    """

    def __init__(
        self, routes: Sequence[str], columns: Mapping[str, Sequence[str]], n_workers: int = 1
    ) -> None:
        self._routes = {route: i for i, route in enumerate(routes)}
        self._columns, self._counted = tuple(columns), tuple(columns.values())
        self._n_workers = n_workers
        of_route = len(STATUSES) + len(BUCKETS_S) + 2  # statuses; times by bucket and beyond; their sum
        self._of_route = of_route
        self._rows = of_route * len(self._routes)
        self._bad_rows, self._running, self._reloads, self._failed_reloads = (
            self._rows + i for i in range(1, 5)
        )
        self._of_columns = self._rows + 5
        self._n = self._of_columns + len(WHAT) * len(self._columns)
        self._memory = memoryview(mmap.mmap(-1, 8 * self._n * n_workers)).cast("q")
        self._statuses = {status: i for i, status in enumerate(STATUSES)}
        self._worker = 0

    def count_for(self, worker: int) -> None:
        """Count as this worker from now on; a worker that died had the same place, and none in progress."""
        self._worker = worker * self._n
        self._memory[self._worker + self._running] = 0

    @property
    def in_progress(self) -> int:
        """Requests with a body that this worker has."""
        return self._memory[self._worker + self._running]

    def begin(self) -> None:
        """A request with a body began."""
        self._memory[self._worker + self._running] += 1

    def end(self) -> None:
        """It ended."""
        self._memory[self._worker + self._running] -= 1

    def request(self, route: str, status: int, took_s: float) -> None:
        """A request was answered."""
        start = self._worker + self._of_route * self._routes[route]
        self._memory[start + self._statuses.get(status, self._statuses[500])] += 1
        start += len(STATUSES)
        bucket = next((i for i, limit in enumerate(BUCKETS_S) if took_s <= limit), len(BUCKETS_S))
        self._memory[start + bucket] += 1
        self._memory[start + len(BUCKETS_S) + 1] += int(took_s * _NS)

    def predicted(self, n_rows: int, n_bad: int, counts: Mapping[int, int]) -> None:
        """Rows were predicted; counts: as `ColumnCounts` gives them."""
        memory, start = self._memory, self._worker
        memory[start + self._rows] += n_rows
        memory[start + self._bad_rows] += n_bad
        start += self._of_columns
        for place, n in counts.items():
            memory[start + place] += n

    def reloaded(self, *, done: bool) -> None:
        """A new model came, or was refused."""
        self._memory[self._worker + (self._reloads if done else self._failed_reloads)] += 1

    def text(self, model: Mapping[str, str]) -> str:
        """All counters, summed over workers, in the text format of Prometheus; model: labels that name it."""
        return "".join(self._lines(model))

    def _sum(self, place: int) -> int:
        return sum(self._memory[worker * self._n + place] for worker in range(self._n_workers))

    def _lines(self, model: Mapping[str, str]) -> Iterator[str]:
        yield _head("requests_total", "counter", "Requests answered.")
        for route, i in self._routes.items():
            for status, j in self._statuses.items():
                if n := self._sum(self._of_route * i + j):
                    yield _line("requests_total", {"route": route, "status": str(status)}, n)
        yield _head("request_duration_seconds", "histogram", "From a request's first line to its answer.")
        for route, i in self._routes.items():
            yield from self._histogram(route, self._of_route * i + len(STATUSES))
        single = (
            ("requests_in_progress", "gauge", "Requests with a body in progress.", self._running),
            ("rows_total", "counter", "Rows predicted.", self._rows),
            ("refused_rows_total", "counter", "Rows that did not fit the model.", self._bad_rows),
            ("reloads_total", "counter", "Times that a worker took a new model.", self._reloads),
            (
                "reload_failures_total",
                "counter",
                "Times that a worker kept its model, as the new one would not do.",
                self._failed_reloads,
            ),
        )
        for name, kind, text, place in single:
            yield _head(name, kind, text)
            yield _line(name, {}, self._sum(place))
        yield _head("model_info", "gauge", "The model that is served.")
        yield _line("model_info", model, 1)
        for k, what in enumerate(WHAT):
            yield _head(f"{what}_total", "counter", _HELP_OF_COLUMNS[what])
            for i, column in enumerate(self._columns):
                if what in self._counted[i]:
                    n = self._sum(self._of_columns + len(WHAT) * i + k)
                    yield _line(f"{what}_total", {"column": column}, n)

    def _histogram(self, route: str, start: int) -> Iterator[str]:
        counts = [self._sum(start + i) for i in range(len(BUCKETS_S) + 1)]
        if not any(counts):
            return
        name, total = "request_duration_seconds", 0
        for limit, count in zip((*map(str, BUCKETS_S), "+Inf"), counts, strict=True):
            total += count
            yield _line(f"{name}_bucket", {"route": route, "le": limit}, total)
        yield _line(f"{name}_sum", {"route": route}, self._sum(start + len(BUCKETS_S) + 1) / _NS)
        yield _line(f"{name}_count", {"route": route}, total)


def _head(name: str, kind: str, text: str) -> str:
    return f"# HELP multilayer_{name} {text}\n# TYPE multilayer_{name} {kind}\n"


def _line(name: str, labels: Mapping[str, str], value: int | float) -> str:
    inside = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"multilayer_{name}{{{inside}}} {value}\n" if inside else f"multilayer_{name} {value}\n"


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
