"""What the benches measured, beside what is promised, in one table at the end."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

console = Console(width=120)


@dataclass(frozen=True)
class Figure:
    """One measured value; a promise, if there is one, is a least or a most."""

    what: str
    value: float
    unit: str
    most: float | None = None
    least: float | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the promise is kept; without one there is nothing to break."""
        low = self.least is not None and self.value < self.least
        high = self.most is not None and self.value > self.most
        return not (low or high or math.isnan(self.value))

    @property
    def measured(self) -> str:
        """The value in words, with three digits that count."""
        number = f"{self.value:,.0f}" if self.value >= 100 else f"{self.value:.3g}"
        return f"{number} {self.unit}".strip()

    @property
    def promise(self) -> str:
        """The promise in words."""
        if self.most is not None:
            return f"at most {self.most:,g} {self.unit}"
        return "" if self.least is None else f"at least {self.least:,g} {self.unit}"


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that *share* of *values* do not exceed; interpolates nothing."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else math.nan


def table(title: str, *columns: str) -> Table:
    """Return an empty table; columns that begin with `<` hold text, the others numbers."""
    made = Table(title=title, title_justify="left")
    for column in columns:
        text = column.startswith("<")
        made.add_column(column.lstrip("<"), justify="left" if text else "right")
    return made


def verdict(figures: Sequence[Figure]) -> int:
    """Print every figure with its promise; return the exit status."""
    shown = table("Measured and promised", "<what", "measured", "<promise", "<")
    for figure in figures:
        mark = "" if not figure.promise else "kept" if figure.is_kept else "[red]BROKEN"
        shown.add_row(figure.what, figure.measured, figure.promise.strip(), mark)
    console.print(shown)
    return 0 if all(figure.is_kept for figure in figures) else 1
