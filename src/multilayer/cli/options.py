"""Arguments and options that several commands share."""

from typing import Annotated, Literal

import typer

TableArgument = Annotated[
    str,
    typer.Argument(
        metavar="TABLE",
        help="A .csv, .tsv, .parquet, .jsonl, .arrow, .xlsx or .duckdb file, a .zip of one, a folder, "
        "a quoted pattern, or - for standard input.",
    ),
]

QueryOption = Annotated[
    str | None,
    typer.Option(metavar="SQL", help="Read the rows of this query; a TABLE that is no database is `self`."),
]

MissingOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="MARK,MARK", help="What stands for a missing value; COL=MARK in one column. Repeatable."
    ),
]

ThousandsOption = Annotated[
    str | None, typer.Option(metavar="SIGN", help="What separates thousands: , in 1,234.5.")
]

DecimalOption = Annotated[str, typer.Option(metavar="SIGN", help="The decimal sign: , in 2,5.")]

EncodingOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="Encoding of text files, such as latin-1.")
]

HeaderOption = Annotated[
    bool, typer.Option("--header/--no-header", metavar="", help="Whether text files begin with column names.")
]

ModelArgument = Annotated[str, typer.Argument(metavar="MODEL", help="A model file that `fit` saved.")]

KIND_HELP = (
    "Read a column as number, boolean, category, ordered, date, time, duration or text, or as an ordered "
    "category with these levels: size=small<medium<large. Repeatable."
)

JsonOption = Annotated[
    bool, typer.Option("--json", metavar="", help="Print one JSON object instead of text.")
]

VerboseOption = Annotated[
    bool, typer.Option("--verbose", metavar="", help="Show the details of layers and training, too.")
]

ExtraOption = Annotated[
    Literal["warn", "ignore", "error"],
    typer.Option(help="Columns that were not there at fit: leave out with a warning or without, or refuse."),
]

MemoryOption = Annotated[
    str | None,
    typer.Option(metavar="SIZE", help="Stream a table that takes more than this, such as 2GiB."),
]
