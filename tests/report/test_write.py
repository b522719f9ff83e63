"""The report through the command: whole folders, half ones, hostile ones."""

import json
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from prusc.cli.main import run_command_line
from prusc.report import try_report, write_report
from tests.run_folders import change_metrics, make_audit, make_run

Capture = pytest.CaptureFixture[str]

HOSTILE = (
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(2)>",
    "\"quotes' {{ 7 * 7 }} \\u003c",
    "\u05d0\u05d1\u05d2\u202e\u05d3\u05d4",
    "🦊" * 100 + "x" * 300,
)


class Page(HTMLParser):
    """The text that a reader sees, the elements, and the page's data."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.data = ""
        self._inside = ""
        self.feed(path.read_text("utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = dict(attrs).get("id") or tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "page-data":
            self.data += data
        elif self._inside not in ("script", "style"):
            self.texts.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " ".join(self.texts)

    def count(self, tag: str, **attributes: str) -> int:
        return sum(name == tag and attributes.items() <= found.items() for name, found in self.elements)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "run")


def report_of(run: Path) -> Page:
    write_report(run)
    return Page(run / "report.html")


def test_every_part_is_there_and_the_figures_are_those_of_the_run(run: Path, capsys: Capture) -> None:
    assert run_command_line(["report", str(run)]) == 0
    assert capsys.readouterr().out == f"Report: {run / 'report.html'}\n"
    page = Page(run / "report.html")
    sections = ["groups", "clusters", "map", "attention", "mask", "made"]
    assert [found["id"] for tag, found in page.elements if tag == "section"] == sections
    results = json.loads((run / "metrics.json").read_text())["results"]
    for family in results:
        for group in results[family]["test"]["groups"]:
            assert f"{100 * group['accuracy']:.1f} %" in page.text
    assert page.count("img") == 30 + 3 * 8
    assert set(json.loads(page.data)["charts"]) == {"chart-groups", "chart-layers", "chart-losses", "chart-densities"}
    assert len(json.loads(page.data)["map"]["ids"]) == 120
    assert (run / "report.html").stat().st_size < 12e6


def test_the_share_of_attention_inside_a_region_is_a_number_with_n_and_interval(run: Path) -> None:
    page = report_of(run)
    about = json.loads((run / "samples" / "about.json").read_text())
    (region,) = about["attention"]["regions"]
    rows = re.findall(r"object 40 .{100}", page.text)
    assert len(rows) == 1
    for name in ("before", "after", "change"):
        low, high = region[name]["ci95"]
        assert f"[{100 * low:.1f} to {100 * high:.1f}]".replace("-", "−") in rows[0]
    assert f"{100 * region['area']:.1f} %" in rows[0]
    assert f"{100 * region['before']['mean']:.1f} %" in rows[0]
    assert "The regions of 2 samples could not be read" in page.text


def test_an_audit_has_a_report_of_its_own(tmp_path: Path, capsys: Capture) -> None:
    audit = make_audit(tmp_path / "audit")
    assert run_command_line(["report", str(audit)]) == 0
    assert capsys.readouterr().out == f"Report: {audit / 'report.html'}\n"
    page = Page(audit / "report.html")
    sections = ["clusters", "follows", "map", "attention", "look", "made"]
    assert [found["id"] for tag, found in page.elements if tag == "section"] == sections
    told = json.loads((audit / "audit.json").read_text())
    assert "A shortcut is suspected: in 1 of 3 clusters, the network fails the other classes." in page.text
    num_right = sum(sum(c["class_counts"].values()) * c["accuracy"] for c in told["clusters"])
    assert f"{100 * num_right / 120:.1f} %" in page.text
    for cluster in told["clusters"]:
        assert f"p = {cluster['p_value']:.3f}" in page.text
    assert page.text.index("Cluster 1: mostly") < page.text.index("Cluster 0: mostly")
    assert json.loads(page.data)["map"]["points"].keys() == {"before"}
    assert page.count("input") == 0, "there is no network after"
    assert "look_at.csv" in page.text
    assert "prusc audit --config" in page.text
    assert not (audit / "model-card.md").exists()
    assert page.count("img") + page.count("span", **{"class": "gap"}) > 3 * 8
    assert run_command_line(["report", str(audit), "--figures", "--map", "tsne"]) == 0
    assert {path.name for path in (audit / "figures").iterdir()} == {"map.png", "map.svg"}


@pytest.mark.parametrize(("verdict", "shown"), [("unclear", "Unclear: in 1 of 3"), ("not-found", "No shortcut was")])
def test_an_audit_that_suspects_nothing_says_so(tmp_path: Path, verdict: str, shown: str) -> None:
    page = report_of(make_audit(tmp_path / "audit", verdict=verdict, attribute=None))
    assert shown in page.text
    assert "No group labels were used." in page.text
    assert ("weak structure" in page.text) == (verdict == "not-found")


def test_hostile_names_show_as_text_in_an_audit_too(tmp_path: Path) -> None:
    page = report_of(make_audit(tmp_path / "audit", class_names=HOSTILE, sample_name=HOSTILE[0]))
    for name in HOSTILE:
        assert " ".join(name.split()) in page.text
    assert page.count("script") == 3
    assert not re.search("[<>]", page.data)


@pytest.mark.parametrize(
    ("change", "shown"),
    [
        (lambda audit: (audit / "look_at.csv").unlink(), "look_at.csv is missing"),
        (lambda audit: shutil.rmtree(audit / "samples"), "samples/samples.csv is missing"),
        (lambda audit: (audit / "samples/map.safetensors").unlink(), "There is no map"),
        (lambda audit: (audit / "clusters.csv").unlink(), "clusters.csv is missing"),
        (
            lambda audit: (audit / "history.csv").write_text("step\n1\n"),
            "a run that continued this audit is not finished",
        ),
    ],
)
def test_what_an_audit_lacks_is_said(tmp_path: Path, change: Callable[[Path], object], shown: str) -> None:
    audit = make_audit(tmp_path / "audit")
    change(audit)
    page = report_of(audit)
    assert shown in page.text
    assert "A shortcut is suspected" in page.text


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "audit.json is damaged (JSONDecodeError"),
        ('{"format": 7}', "audit.json has format 7, this prusc reads up to format 1"),
        ('{"format": 1}', "audit.json is not as prusc writes it (KeyError: 'data')"),
    ],
)
def test_a_damaged_audit_is_refused(tmp_path: Path, capsys: Capture, content: str, expected: str) -> None:
    audit = make_audit(tmp_path / "audit")
    (audit / "audit.json").write_text(content)
    assert run_command_line(["report", str(audit)]) == 2
    assert expected in " ".join(capsys.readouterr().err.split())


def test_a_finished_run_is_not_reported_as_the_audit_that_it_went_on_from(run: Path) -> None:
    (run / "audit.json").write_text("{")
    assert "prusc found a better network." in report_of(run).text


def test_nothing_but_its_own_scripts_may_run_and_nothing_is_asked_for(run: Path) -> None:
    page = report_of(run)
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


def test_one_group_and_no_attributes(tmp_path: Path) -> None:
    page = report_of(make_run(tmp_path / "run", attribute=None))
    assert "No attributes are known" in page.text
    assert [item["name"] for item in json.loads(page.data)["map"]["colourings"]][-1] == "prediction"
    lonely = make_run(tmp_path / "lonely", attribute=None)
    metrics = json.loads((lonely / "metrics.json").read_text())
    for splits in metrics["results"].values():
        splits["test"]["groups"][1] |= {"num_samples": 0, "accuracy": None, "ci95": None}
    (lonely / "metrics.json").write_text(json.dumps(metrics))
    assert "1 of 2 groups have no test samples" in report_of(lonely).text


def test_what_was_trained_on_validation_says_so(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    told = "Validation samples were also used for training"
    assert told not in report_of(run).text
    assert told not in (run / "model-card.md").read_text("utf-8")
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps(metrics | {"trains_on_validation": True}))
    assert told in report_of(run).text
    assert told in (run / "model-card.md").read_text("utf-8")


@pytest.mark.parametrize("verdict", ["no-shortcut", "shortcut-only"])
def test_a_verdict_that_is_none_of_improved(tmp_path: Path, verdict: str) -> None:
    assert (
        "prusc found no better network: the ERM network" in report_of(make_run(tmp_path / "run", verdict=verdict)).text
    )


def remove(*names: str) -> Callable[[Path], object]:
    return lambda run: [(run / name).unlink() for name in names]


def damage(name: str) -> Callable[[Path], object]:
    return lambda run: (run / name).write_bytes(b"\x00\xff,\n1,2,3,4\n")


@pytest.mark.parametrize(
    ("change", "missing", "shown"),
    [
        (remove("samples/samples.csv"), "samples/samples.csv is missing", "There is no map"),
        (remove("samples/map.safetensors"), "map.safetensors is missing: the report lacks the map", "is no map"),
        (remove("samples/attention.safetensors"), "attention.safetensors is missing", "Not shown: samples/attention"),
        (remove("samples/pictures-000.webp"), "pictures-000.webp is missing", "30 of 30 pictures are missing"),
        (remove("history.csv"), "history.csv is missing", "No mask was learned yet"),
        (remove("clusters.csv", "candidates.csv", "log.txt"), "clusters.csv is missing", "Cluster 0"),
        (damage("samples/samples.csv"), "samples/samples.csv cannot be read", "There is no map"),
        (damage("samples/map.safetensors"), "map.safetensors cannot be read", "There is no map"),
        (damage("samples/thumbnails-000.webp"), "thumbnails-000.webp cannot be read", "120 validation samples"),
        (damage("candidates.csv"), "candidates.csv cannot be read", "How it was made"),
        (damage("history.csv"), "history.csv cannot be read", "No mask was learned yet"),
    ],
)
def test_what_is_missing_is_said_and_the_rest_is_shown(
    run: Path, capsys: Capture, change: Callable[[Path], object], missing: str, shown: str
) -> None:
    change(run)
    assert run_command_line(["report", str(run)]) == 0
    assert missing in capsys.readouterr().out
    page = Page(run / "report.html")
    assert missing in page.text
    assert shown in page.text


def test_a_run_that_is_not_finished_shows_what_there_is(run: Path, tmp_path: Path) -> None:
    (run / "metrics.json").unlink()
    (run / "stages").mkdir()
    (run / "stages" / "seconds.json").write_text('{"erm": 12.5}')
    page = report_of(run)
    assert "This run is not finished" in page.text
    assert "metrics.json is missing" in page.text
    assert "12.5 s" in page.text
    assert not (run / "model-card.md").exists()
    begun = tmp_path / "begun"
    begun.mkdir()
    shutil.copy(run / "config.toml", begun)
    assert "The run folder has no clusters" in report_of(begun).text


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda run: shutil.rmtree(run), "run folder RUN does not exist"),
        (remove("config.toml"), "folder RUN has no config.toml, so it is no run folder; name the --out of a prusc run"),
        (lambda run: (run / "config.toml").write_text("sed = 1"), "unknown setting sed; ... prusc 0.1.0 wrote it"),
        (lambda run: change_metrics(run, format=2), "metrics.json has format 2, this prusc reads up to format 1"),
        (lambda run: change_metrics(run, format=None), "metrics.json is damaged (KeyError: 'format')"),
        (lambda run: change_metrics(run, results={}), "metrics.json is not as prusc writes it (KeyError: 'erm')"),
        (lambda run: change_metrics(run, density=None), "metrics.json is not as prusc writes it (KeyError: 'density')"),
        (lambda run: change_metrics(run, cells=[1]), "metrics.json is not as prusc writes it (TypeError"),
        (damage("metrics.json"), "metrics.json is damaged (UnicodeDecodeError"),
    ],
)
def test_what_is_no_run_is_refused(run: Path, capsys: Capture, change: Callable[[Path], object], expected: str) -> None:
    change(run)
    assert run_command_line(["report", str(run)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("prusc: ") == 1
    assert "Traceback" not in printed.err
    pattern = ".*".join(map(re.escape, expected.replace("RUN", str(run)).split(" ... ")))
    assert re.search(pattern, " ".join(printed.err.split())), printed.err
    assert not (run / "report.html").exists()


def test_a_folder_that_cannot_be_written(run: Path, capsys: Capture) -> None:
    (run / "report.html").mkdir()
    assert run_command_line(["report", str(run)]) == 2
    assert "report.html cannot be written: " in capsys.readouterr().err
    assert not list(run.glob(".*")), "a file that was half written"


def test_a_full_disk_spoils_no_finished_run(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("only root may mount a small disk")
    try:
        run = make_run(disk / "run")
        before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
        problem = try_report(run)
        assert problem is not None
        assert "No space left on device" in problem
        assert "\n" not in problem
        assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_whatever_goes_wrong_after_a_run_is_told_in_one_line(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a bug\nof two lines")

    monkeypatch.setattr("prusc.report.write.render_run", fail)
    assert try_report(run) == f"a bug of two lines (the run itself is complete; prusc report {run} tries again)"


def test_figures_and_model_card(run: Path) -> None:
    assert run_command_line(["report", str(run), "--figures"]) == 0
    names = {path.name for path in (run / "figures").iterdir()}
    assert names == {f"{name}.{end}" for name in ("groups", "layers", "mask-learning", "map") for end in ("png", "svg")}
    assert (run / "figures" / "groups.png").read_bytes().startswith(b"\x89PNG")
    first = (run / "figures" / "map.svg").read_bytes()
    write_report(run, figures=True)
    assert (run / "figures" / "map.svg").read_bytes() == first
    card = (run / "model-card.md").read_text("utf-8")
    after = json.loads((run / "metrics.json").read_text())["results"]["subnetwork"]["test"]
    assert f'name: "worst-group accuracy", value: {after["worst_group_accuracy"]:.4f}' in card
    assert "# made \\<b\\>up\\</b\\>: small-cnn, a subnetwork" in card


def test_t_sne_is_another_map(run: Path) -> None:
    pca = json.loads(report_of(run).data)["map"]
    assert run_command_line(["report", str(run), "--map", "tsne"]) == 0
    tsne = json.loads(Page(run / "report.html").data)["map"]
    assert tsne["axes"]["before"] == ["t-SNE 1", "t-SNE 2"]
    assert tsne["points"]["before"] != pca["points"]["before"]
    assert tsne["ids"] == pca["ids"]


def test_runs_side_by_side(run: Path, tmp_path: Path, capsys: Capture) -> None:
    other = make_run(tmp_path / "other", seed=1)
    out = tmp_path / "pages" / "comparison.html"
    assert run_command_line(["compare", str(run), str(other), "--out", str(out)]) == 0
    page = Page(out)
    links = [found["href"] for tag, found in page.elements if tag == "a" and (found["href"] or "").endswith(".html")]
    assert links == ["../run/report.html", "../other/report.html"]
    for folder in (run, other):
        after = json.loads((folder / "metrics.json").read_text())["results"]["subnetwork"]["test"]
        assert f"{100 * after['worst_group_accuracy']:.1f} %" in page.text
    (other / "metrics.json").unlink()
    for arguments, expected in (
        ([str(run)], "at least two different run folders; found 1"),
        ([str(run), str(run)], "at least two different run folders; found 1"),
        ([str(run), str(other)], "other holds an unfinished run; finish it first"),
    ):
        capsys.readouterr()
        assert run_command_line(["compare", *arguments]) == 2
        assert expected in " ".join(capsys.readouterr().err.split())


def test_a_cluster_that_is_named_by_a_rare_class_is_not_mostly_of_it(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    clusters = json.loads((run / "metrics.json").read_text())["clusters"]
    common = {cluster["cluster"]: cluster["main_label"] for cluster in clusters}
    # As clusters of the untrained network are: the class of which cluster 0 holds the most is not its largest.
    named = [{**c, "main_label": 1 - common[0] if c["cluster"] == 0 else common[c["cluster"]]} for c in clusters]
    change_metrics(run, clusters=named, cluster_structure="untrained")
    write_report(run)
    page = Page(run / "report.html")
    assert re.search(r"Cluster 0: more \w+ than elsewhere", page.text)
    assert "Cluster 1: mostly" in page.text
    assert "3 clusters, clusters of the untrained network." in page.text
