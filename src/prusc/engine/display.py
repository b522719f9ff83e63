"""HTML of results, for notebooks."""

from html import escape

import pandas as pd


def describe_with_table(result: object, table: pd.DataFrame) -> str:
    """Return HTML: the repr of a result, and a table below it."""
    return f"<p>{escape(repr(result))}</p>{table.to_html(index=False, float_format='{:.3f}'.format, na_rep='')}"
