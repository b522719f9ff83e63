"""The plot, read back as SVG."""

import xml.etree.ElementTree as ET

import pytest

from prusc.benchmark.plot import draw_plot
from prusc.benchmark.summary import summarise_rows
from tests.benchmark.rows import make_rows

SVG = "{http://www.w3.org/2000/svg}"


def test_there_is_one_set_of_axes_a_panel_and_the_same_bytes_for_the_same_numbers() -> None:
    panels = summarise_rows(make_rows())
    content = draw_plot(panels)
    root = ET.fromstring(content)
    assert root.tag == f"{SVG}svg"
    axes = [found for found in root.iter(f"{SVG}g") if found.get("id", "").startswith("axes_")]
    assert len(axes) == len(panels) == 2
    assert draw_plot(panels) == content


@pytest.mark.parametrize("num_panels", [1, 4])
def test_names_are_shown_as_they_are_with_any_number_of_panels(num_panels: int) -> None:
    names = tuple(f"$x_{number}^2$ <b>" for number in range(num_panels))
    content = draw_plot(summarise_rows(make_rows(1, data=names))).decode()
    root = ET.fromstring(content)
    axes = [found for found in root.iter(f"{SVG}g") if found.get("id", "").startswith("axes_")]
    assert len([found for found in axes if len(found)]) >= num_panels
    for name in names:
        # Letters are drawn as shapes, with the text in a comment.
        assert name.replace("<", "&lt;").replace(">", "&gt;") in content or name in content
