import pandas as pd

from prusc.engine.display import describe_with_table


class Found:
    def __repr__(self) -> str:
        return "Found(worst group <b>12.3 %</b> & more)"


def test_the_text_is_escaped_and_the_table_follows() -> None:
    table = pd.DataFrame({"class": ["cat", "<i>dog</i>"], "accuracy": [0.123456, None], "n": [3, 4]})
    html = describe_with_table(Found(), table)
    assert html.startswith("<p>Found(worst group &lt;b&gt;12.3 %&lt;/b&gt; &amp; more)</p><table")
    assert "<td>0.123</td>" in html
    assert "<td></td>" in html, "what is not known stays empty"
    assert "NaN" not in html
    assert "&lt;i&gt;dog&lt;/i&gt;" in html
    # No column for the index.
    assert html.count("<th>") == 3
    assert html.count("<tr") == 3
