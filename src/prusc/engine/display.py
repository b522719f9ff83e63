"""How results show themselves in a notebook."""

from html import escape

import pandas as pd


def describe_with_table(result: object, table: pd.DataFrame) -> str:
    """Return HTML: the short text of a result, and below it a table."""
    return f"<p>{escape(repr(result))}</p>{table.to_html(index=False, float_format='{:.3f}'.format, na_rep='')}"
