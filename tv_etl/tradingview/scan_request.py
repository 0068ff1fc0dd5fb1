"""What a screener is asked for, as a watchlist or a caller writes it; `scanner` asks."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

Operation = Literal[
    "greater", "egreater", "less", "eless", "equal", "nequal", "in_range", "not_in_range", "empty", "nempty", "match",
    "nmatch", "smatch", "has", "has_none_of", "crosses", "crosses_above", "crosses_below", "above%", "below%",
    "in_range%", "not_in_range%", "in_day_range", "in_week_range", "in_month_range",
]  # fmt: skip
Value = str | int | float | bool | None


class _Frozen(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)


class ScanFilter(_Frozen):
    """One condition; all conditions of a request must hold.

    `right` is a value, the name of another column to compare with, or a list: two bounds for numbers, or the
    alternatives for `in_range` of texts and for `has`. `empty` and `nempty` need none.
    """

    left: str = Field(description="The column that is compared.")
    operation: Operation = Field(description="How it is compared, e.g. greater, less, equal, in_range, empty.")
    right: Value | tuple[Value, ...] = Field(
        default=None, description="A value, the name of another column, or a list of bounds or alternatives."
    )


class ScanSort(_Frozen):
    """The column to sort by; rows without a value come last."""

    by: str = Field(description="The column.")
    order: Literal["asc", "desc"] = Field(default="asc", description="Smallest first, or largest.")


class ScanRequest(_Frozen):
    """What to look for. `market` is a country such as `america`, or `crypto`, `forex`, `futures`, `cfd`, `global`, ...

    `limit` None means every row.
    """

    market: str = Field(
        default="america", pattern=r"^[a-z0-9_-]+$", description="A country, or crypto, forex, futures, cfd, global."
    )
    columns: tuple[str, ...] = Field(
        default=("name", "description", "type", "exchange", "currency"), description="Columns of the answer."
    )
    filters: tuple[ScanFilter, ...] = Field(
        default=(), description="Conditions, all of which must hold; see ScanFilter."
    )
    sort: ScanSort | None = Field(default=None, description="Sort order, applied before limit; see ScanSort.")
    limit: int | None = Field(default=50, ge=1, description="At most this many rows; null for all.")
