"""A query as stages: each selects from the one before it, so that what one column needs is written once."""

from collections.abc import Mapping, Sequence

from multilayer.errors import ConfigError

MOST_COLUMNS = 1_500  # of a stage: PostgreSQL takes 1,664
SOURCE = "rows_to_predict"
ROW = "multilayer_row"  # number of a row, in the order in which the database gives them


def name(text: str) -> str:
    """A column's name in SQL.

    >>> name('a"b')
    '"a""b"'
    """
    return '"' + text.replace('"', '""') + '"'


def literal(value: str) -> str:
    """A text in SQL.

    >>> literal("it's")
    "'it''s'"
    """
    return "'" + value.replace("'", "''") + "'"


def number(value: float) -> str:
    """A number in SQL, in brackets if it is negative.

    >>> number(-0.5), number(3.0)
    ('(-0.5)', '3.0')
    """
    text = repr(float(value))
    return f"({text})" if text.startswith("-") else text


class Stages:
    """Builds the stages.

    >>> stages = Stages()
    >>> x = stages.add({"x": '"size" * 2.0'}, [])
    >>> print(stages.query({"prediction": "x + 1"}))
    WITH source AS (SELECT * FROM rows_to_predict), -- the table to predict
    numbered AS MATERIALIZED (SELECT row_number() OVER () AS multilayer_row, source.* FROM source),
    s1 AS MATERIALIZED (SELECT multilayer_row, "size" * 2.0 AS x FROM numbered)
    SELECT numbered.*, x + 1 AS "prediction" FROM numbered JOIN s1
    ON numbered.multilayer_row = s1.multilayer_row ORDER BY numbered.multilayer_row
    """

    def __init__(self) -> None:
        self._lines = [
            f"WITH source AS (SELECT * FROM {SOURCE}), -- the table to predict",
            f"numbered AS MATERIALIZED (SELECT row_number() OVER () AS {ROW}, source.* FROM source),",
        ]
        self._n = 0

    def add(self, columns: Mapping[str, str], carried: Sequence[str]) -> list[str]:
        """A stage of new columns, by the columns of the last one, which are gone unless they are carried on.

        Raises:
            ConfigError: they are too many.
        """
        kept = [each for each in dict.fromkeys(carried) if each not in columns]
        if len(columns) + len(kept) > MOST_COLUMNS:
            raise ConfigError(
                f"a query may have up to {MOST_COLUMNS:,} columns at a time; this model needs "
                f"{len(columns) + len(kept):,}. Distil it to a smaller network, or export to onnx."
            )
        before = f"s{self._n}" if self._n else "numbered"
        self._n += 1
        parts = [ROW, *kept, *(f"{text} AS {column}" for column, text in columns.items())]
        self._lines.append(f"s{self._n} AS MATERIALIZED (SELECT {', '.join(parts)} FROM {before}),")
        return list(columns)

    def query(self, columns: Mapping[str, str]) -> str:
        """All of it; the columns as users see them come behind those of the table."""
        last = self._lines[-1].rstrip(",")
        shown = ", ".join(f"{text} AS {name(column)}" for column, text in columns.items())
        select = f"SELECT numbered.*, {shown} FROM numbered JOIN s{self._n}"
        joined = f"ON numbered.{ROW} = s{self._n}.{ROW} ORDER BY numbered.{ROW}"
        return "\n".join([*self._lines[:-1], last, select, joined])
