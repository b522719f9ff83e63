"""Tables in Markdown and LaTeX, by eye."""

from scipy.stats import ttest_rel

from prusc.benchmark.summary import average_over_panels, summarise_rows
from prusc.benchmark.tables import latex_tables, markdown_table, markdown_tables
from tests.benchmark.rows import make_rows


def test_tables_say_by_which_rule_and_escape_names() -> None:
    panels = (*average_over_panels(make_rows()), *summarise_rows(make_rows()))
    markdown, latex = markdown_tables(panels), latex_tables(panels)
    assert markdown.count("Chosen by: pseudo-groups.") == 3
    assert "## Mean over all data sets and networks" in markdown
    assert "DFR (+ val)" in markdown
    assert r"faces\_100\%, net. Chosen by: pseudo-groups." in latex
    assert latex.count(r"\begin{tabular}") == 3
    one = markdown_tables(summarise_rows(make_rows(1, data=("birds",))))
    assert "Mean over" not in one
    assert "nan" not in one + markdown


def test_a_cell_shows_mean_deviation_difference_and_interval() -> None:
    rows = make_rows(3, data=("birds",))
    worst = rows.pivot_table("worst_group_accuracy", "seed", "method")
    mean, deviation = 100 * worst["prusc"].mean(), 100 * worst["prusc"].std(ddof=1)
    limits = ttest_rel(worst["prusc"], worst["erm"]).confidence_interval(0.95)
    [line] = [line for line in markdown_tables(summarise_rows(rows)).splitlines() if line.startswith("| PRUSC |")]
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[1:3] == ["none", "3"]
    assert cells[4] == f"{mean:.1f} ({deviation:.1f})"
    difference = 100 * (worst["prusc"] - worst["erm"]).mean()
    assert cells[5] == f"{difference:+.1f} [{100 * limits.low:+.1f}, {100 * limits.high:+.1f}]"


def test_only_a_method_that_fits_validation_samples_is_explained() -> None:
    rows = make_rows()
    legend = "+ val: the method also fits weights to validation samples."
    assert legend in markdown_tables(summarise_rows(rows))
    assert legend not in markdown_tables(summarise_rows(rows[rows.method != "dfr"]))


def test_a_bar_in_a_cell_is_escaped_and_every_special_letter_of_latex_is() -> None:
    assert markdown_table(["a"], [["b|c"]]).splitlines()[-1] == r"| b\|c |"
    rows = make_rows(1, data=("a_b%$#&{}~^\\",))
    assert r"a\_b\%\$\#\&\{\}\textasciitilde{}\textasciicircum{}\textbackslash{}, net" in latex_tables(
        summarise_rows(rows)
    )


def test_headings_have_the_level_that_is_asked_for() -> None:
    assert "\n### birds, net\n" in markdown_tables(summarise_rows(make_rows(data=("birds",))), level=3)
