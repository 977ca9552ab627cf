"""The same help with raw columns for every contestant that cannot take them as they stand in a file.

Dates become numbers, text becomes categories, columns without information go. What is learnt (formats of
dates, levels, medians) comes from the training rows alone.
"""

import re
import warnings
from typing import Literal

import pandas as pd
from pandas.tseries.api import guess_datetime_format

Style = Literal["categories", "text", "filled"]
MISSING = "(missing)"
SIX_DIGITS = re.compile(r"(?:\d\D*){6}")


class Preparation:
    """Features as numbers, which come first, and categories; learnt from training rows.

    They are named f0, f1 and so on: LightGBM and XGBoost refuse some names.

    Args:
        table: training rows without the target.
        style: "categories" for pandas categories, missing and unseen levels as NaN; "text" for text, missing
            as "(missing)"; "filled" for pandas categories and, as networks take no NaN, the median in its
            place with a 0/1 column for each column that has gaps.
        max_levels: so many of the most frequent levels stay, the others become missing.
    """

    def __init__(self, table: pd.DataFrame, style: Style, max_levels: int | None = None) -> None:
        self.style = style
        self.numbers: list[str] = []
        self.dates: dict[str, str | None] = {}  # column -> format; None where pandas read dates already
        self.levels: dict[str, pd.Index] = {}
        for name in table.columns[table.nunique(dropna=False) > 1]:
            column = table[name]
            if pd.api.types.is_datetime64_any_dtype(column):
                self.dates[name] = None
            elif pd.api.types.is_numeric_dtype(column):
                self.numbers.append(name)
            elif form := date_format(column):
                self.dates[name] = form
            else:
                self.levels[name] = column.dropna().astype(str).value_counts().index[:max_levels]
        numbers = self._numbers(table)
        self.varying = list(numbers.columns[numbers.nunique() > 1])  # dates often have no time of day
        self.medians = numbers[self.varying].median()
        self.gaps = list(self.medians.index[numbers[self.varying].isna().any()])

    def __call__(self, table: pd.DataFrame) -> pd.DataFrame:
        """The features of any rows."""
        numbers = self._numbers(table)[self.varying]
        if self.style == "filled":
            gaps = numbers[self.gaps].isna().astype(float).add_prefix("no ")
            numbers = pd.concat([numbers.fillna(self.medians), gaps], axis=1)
        categories = [self._category(table[name], levels) for name, levels in self.levels.items()]
        features = pd.concat([numbers, *categories], axis=1)
        return features.set_axis([f"f{i}" for i in range(features.shape[1])], axis=1)

    def _numbers(self, table: pd.DataFrame) -> pd.DataFrame:
        dates = [_parts_of_dates(table[name], form) for name, form in self.dates.items()]
        return pd.concat([table[self.numbers].astype(float), *dates], axis=1)

    def _category(self, column: pd.Series, levels: pd.Index) -> pd.Series:
        text = column.astype(object).where(column.notna(), MISSING).astype(str).astype(object)
        if self.style == "text":
            return text
        codes = levels.get_indexer(pd.Index(text))  # -1: missing or unseen
        return pd.Series(pd.Categorical.from_codes(codes, pd.RangeIndex(len(levels))), column.index)


def date_format(column: pd.Series) -> str | None:
    """How the text of a column writes dates, if all of it does and each has six digits at least.

    >>> date_format(pd.Series(["1/31/2024", None, "12/1/2024"]))
    '%m/%d/%Y'
    >>> date_format(pd.Series(["2024-01-31", "soon"])) is None
    True
    """
    texts = pd.Series(column.dropna().astype(str).unique(), dtype=object)
    if texts.empty or not texts.map(lambda text: SIX_DIGITS.search(text) is not None).all():
        return None
    for day_first in (False, True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the order of day and month is clear from the first value
            form = guess_datetime_format(texts[0], dayfirst=day_first)
        if form and pd.to_datetime(texts, format=form, errors="coerce", utc=True).notna().all():
            return form
    return None


def _parts_of_dates(column: pd.Series, form: str | None) -> pd.DataFrame:
    """Days since 1970 with the time of day as fraction, month, weekday and hour."""
    date = pd.to_datetime(column, format=form, errors="coerce", utc=True)
    days = (date - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(days=1)
    parts = {"days": days, "month": date.dt.month, "weekday": date.dt.day_of_week, "hour": date.dt.hour}
    return pd.DataFrame(parts).astype(float).add_prefix(f"{column.name} ")
