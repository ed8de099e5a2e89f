"""Tables on the terminal, all alike."""

from rich import box
from rich.table import Table


def titled_table(title: str, *columns: str) -> Table:
    """Return an empty table: the first column wraps, the others are numbers."""
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False, title_style="bold")
    table.add_column(columns[0], overflow="fold")
    for column in columns[1:]:
        table.add_column(column, justify="right")
    return table


def figure(value: float | None) -> str:
    """Return a number with at most two decimals; - for none."""
    return "-" if value is None else f"{value:,.2f}".rstrip("0").rstrip(".")
