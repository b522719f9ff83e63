"""Pages run no script but their own, whatever the names in them."""

import base64
import hashlib
import json
import re
from pathlib import Path

import numpy as np
import pytest
from jinja2 import UndefinedError

from prusc.cli.main import run_command_line
from prusc.report.page import render_page, to_script_json
from tests.report.pages import HOSTILE, Page, report_of
from tests.run_folders import make_run


def test_nothing_but_its_own_scripts_may_run_and_nothing_is_asked_for(reported_run: Path) -> None:
    page = Page(reported_run / "report.html")
    policy = next(found["content"] for tag, found in page.elements if found.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy.split("style-src")[0]
    for _, found in page.elements:
        for name in ("src", "href"):
            assert (found.get(name) or "#").startswith(("#", "data:image/webp;base64,"))


def test_hostile_names_show_as_text(tmp_path: Path) -> None:
    run = make_run(
        tmp_path / "run",
        class_names=HOSTILE,
        attribute=("<i>$x^2$</i>", HOSTILE[:2]),
        sample_name="<svg onload=alert(3)>",
    )
    page = report_of(run)
    for name in HOSTILE:
        assert " ".join(name.split()) in page.text
    assert page.count("script") == 3
    assert page.count("svg") == page.count("i") == 0
    assert not any(found.get("onerror") or found.get("onload") for _, found in page.elements)
    assert not re.search("[<>]", page.data)
    assert json.loads(page.data)["map"]["ids"][0] == "<svg onload=alert(3)>-0"
    card = (run / "model-card.md").read_text("utf-8")
    assert "<script>" not in card.split("---", 2)[2].replace("\\<", "")
    assert run_command_line(["report", str(run), "--figures"]) == 0


def test_the_policy_names_the_hash_of_every_script_on_the_page(reported_run: Path) -> None:
    html = (reported_run / "report.html").read_text("utf-8")
    scripts = re.findall(r"<script>(.*?)</script>", html, flags=re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', html)
    assert policy is not None
    assert re.findall(r"sha256-([^&' ]+)", policy[1]) == digests
    assert len(digests) == 2


@pytest.mark.parametrize("text", ["</script><!--", "a & b", "\u2028\u2029", "\\u003c", 'quote " and \\', "é🦊"])
def test_json_for_a_script_is_read_back_and_cannot_end_its_element(text: str) -> None:
    found = to_script_json({"name": text, "values": np.arange(3)})
    assert json.loads(found) == {"name": text, "values": [0, 1, 2]}
    assert found.isascii()
    assert not set("<>&") & set(found)


def test_a_template_that_lacks_a_value_is_an_error() -> None:
    with pytest.raises(UndefinedError):
        render_page("run.html", charts={}, data={}, title="lacks all the rest")
