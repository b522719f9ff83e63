"""Rendering of a template into one self-contained HTML page that makes no network requests."""

import base64
import hashlib
import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from prusc.config.version import find_version
from prusc.report import names, text
from prusc.stages.evaluation import average_ci95
from prusc.stages.evidence import describe_evidence
from prusc.stages.pseudo_attributes.clustering import describe_structure


def render_page(
    template: str,
    *,
    charts: Mapping[str, go.Figure],
    data: Mapping[str, Any],
    **context: Any,
) -> str:
    """Fill a template.

    Names in the data may hold any text. The template escapes them, and `to_script_json` escapes the data of the page.
    As a second line of defence, the Content-Security-Policy allows only the scripts whose hash it lists.

    Args:
        template: File name in ``templates``.
        charts: Figures by the id of the element that shows them.
        data: Other data that the script of the page needs.
        **context: Variables of the template.

    Returns:
        HTML.
    """
    scripts = [get_plotlyjs(), _read("page.js")]
    return (
        _environment()
        .get_template(template)
        .render(
            style=Markup(_read("style.css")),
            scripts=[Markup(script) for script in scripts],
            policy=_policy(scripts),
            page_data=Markup(to_script_json({"charts": {n: f.to_plotly_json() for n, f in charts.items()}, **data})),
            charts=set(charts),
            version=find_version(),
            **context,
        )
    )


def to_script_json(content: Any) -> str:
    """Return JSON for a script element: no text in it can end the element or begin a comment."""
    plain = json.dumps(content, default=_to_list, ensure_ascii=True, separators=(",", ":"))
    return plain.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _to_list(value: Any) -> Any:
    """Return an array of a figure as a list."""
    return value.tolist()


def _policy(scripts: list[str]) -> str:
    """Return a Content-Security-Policy that forbids all requests and all scripts but these."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts
    )
    return (
        f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; "
        "base-uri 'none'; form-action 'none'"
    )


@cache
def _read(name: str) -> str:
    return (resources.files("prusc.report") / "templates" / name).read_text("utf-8")


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("prusc.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    functions = (
        text.percent,
        text.interval,
        text.points,
        text.duration,
        text.group_name,
        describe_evidence,
        describe_structure,
        average_ci95,
        names.amount,
        names.describe_part,
        names.tell_name,
    )
    for function in functions:
        environment.filters[function.__name__] = function
    return environment
