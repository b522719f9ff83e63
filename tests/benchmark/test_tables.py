"""Tables in Markdown and LaTeX, by eye."""

import pandas as pd
from scipy.stats import ttest_1samp, ttest_rel

from prusc.benchmark.intervals import adjust_by_holm
from prusc.benchmark.summary import average_over_panels, summarise_rows
from prusc.benchmark.tables import latex_tables, markdown_table, markdown_tables
from tests.benchmark.rows import make_rows


def test_tables_say_by_which_rule_and_escape_names() -> None:
    panels = (*average_over_panels(make_rows()), *summarise_rows(make_rows()))
    markdown, latex = markdown_tables(panels), latex_tables(panels)
    assert markdown.count("Chosen by: pseudo-groups. Compared by: worst group.") == 3
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
    # What the rows do not say is left empty.
    assert cells[4:6] == ["", ""]
    assert cells[9:13] == ["", "", "", ""]
    assert cells[6] == f"{mean:.1f} ({deviation:.1f})"
    p_values = [ttest_rel(worst[name], worst["erm"]).pvalue for name in ("prusc", "group-dro", "dfr")]
    p_holm = adjust_by_holm(p_values)[0]
    assert p_holm is not None
    assert cells[8] == f"{p_holm:.3f}"
    difference = 100 * (worst["prusc"] - worst["erm"]).mean()
    assert cells[7] == f"{difference:+.1f} [{100 * limits.low:+.1f}, {100 * limits.high:+.1f}]"


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


def test_with_many_or_small_groups_the_conflicting_samples_are_compared_and_no_worst_group_is_shown() -> None:
    for column, value in (("num_groups", 17), ("num_samples_smallest_group", 19)):
        rows = make_rows(3, data=("birds",)).assign(num_groups=16, num_samples_smallest_group=20)
        rows = rows.assign(conflicting_accuracy=rows.average_accuracy / 2, aligned_accuracy=0.9)
        assert "bias-conflicting" not in markdown_tables(summarise_rows(rows))
        text = markdown_tables(summarise_rows(rows.assign(**{column: value})))
        assert "Compared by: bias-conflicting." in text
        [line] = [line for line in text.splitlines() if line.startswith("| PRUSC |")]
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        conflicting = rows.pivot_table("conflicting_accuracy", "seed", "method")
        assert cells[4] == "90.0 (0.0)"
        assert cells[5].startswith(f"{100 * conflicting.prusc.mean():.1f} (")
        assert cells[6] == ""
        assert cells[7].startswith(f"{100 * (conflicting.prusc - conflicting.erm).mean():+.1f} [")


def test_other_choices_and_the_number_of_candidates_stand_beside_the_chosen_one() -> None:
    rows = make_rows(2, data=("birds",)).assign(num_candidates=7.0)
    rows = rows.assign(groups_worst_group_accuracy=0.25, best_worst_group_accuracy=0.75)
    [line] = [line for line in markdown_tables(summarise_rows(rows)).splitlines() if line.startswith("| PRUSC |")]
    assert [cell.strip() for cell in line.strip("|").split("|")][9:13] == ["25.0", "", "75.0", "7"]


def test_the_headline_is_prusc_minus_the_heads_of_the_whole_network() -> None:
    rows = make_rows(4, data=("birds",))
    heads = rows[rows.method == "prusc"].assign(method="prusc-heads", title="Heads", worst_group_accuracy=0.25)
    rows = pd.concat([rows, heads], ignore_index=True)
    limits = ttest_1samp(rows[rows.method == "prusc"].worst_group_accuracy - 0.25, 0).confidence_interval(0.95)
    mean = 100 * (rows[rows.method == "prusc"].worst_group_accuracy.mean() - 0.25)
    expected = f"{mean:+.1f} [{100 * limits.low:+.1f}, {100 * limits.high:+.1f}] points (4 seeds)."
    text = f"PruSC minus the whole network's heads on the same grid, worst group: {expected}"
    assert text in markdown_tables(summarise_rows(rows))
    assert "same grid" in latex_tables(summarise_rows(rows))
