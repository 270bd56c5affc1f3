"""The page of bench report: every number is that of its file, it needs no network, anybody can read its tables."""

import itertools
import json
import re
from decimal import Decimal
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from bertpass.bench.pages import charts, contents, result_files, svg
from bertpass.commands.main import main
from tests.helpers import ROOT
from tests.helpers import result_content as content

RECORDED = ROOT / "docs/results/amd-avx512-bf16/cpu-minilm.json"
VOID = ("meta", "link", "br", "img")


class Page(HTMLParser):
    """Numbers (attributes and text), cells' text outside of numbers, tags with their attributes, the sources' block."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.numbers, self.loose, self.tags, self.block, self._open = [], [], [], "", []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        attributes = dict(attrs)
        self.tags.append((tag, attributes))
        if tag not in VOID:
            self._open.append((tag, attributes))
        if "data-value" in attributes:
            self.numbers.append([attributes, ""])

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.handle_endtag(tag)

    def handle_endtag(self, tag):
        assert self._open.pop()[0] == tag

    def handle_data(self, data):
        if not self._open:
            return
        tag, attributes = self._open[-1]
        if "data-value" in attributes and tag in ("span", "text"):
            self.numbers[-1][1] += data
        elif any(name == "td" for name, _ in self._open):
            self.loose.append(data)
        elif attributes.get("id") == "sources":
            self.block += data


def at(content, pointer):
    """The value at a JSON pointer in its form for URIs."""
    for step in unquote(pointer).split("/")[1:]:
        step = step.replace("~1", "/").replace("~0", "~")
        content = content[int(step)] if isinstance(content, list) else content[step]
    return content


def recomputed(attributes, files):
    """The value of a number from what its sources say in the files."""
    names = {}
    for letter, place in zip("abc", attributes["data-sources"].split(), strict=False):
        file, _, pointer = place.partition("#")
        names[letter] = at(files[unquote(file)], pointer)
    assert re.fullmatch(r"[abc0-9e*/(). -]+", attributes["data-formula"])
    return eval(attributes["data-formula"], {"__builtins__": {}}, names)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    files = content.written(folder, **{"my cpu": content.cpu()}, scaling=content.scaling(), passes=content.passes(),
                            finetuning=content.finetuning())
    output = folder / "new" / "report.html"
    code = main(["bench", "report", *files, str(RECORDED), "--output", str(output),
                       "--machine", "c5.xlarge"])
    assert code == 0
    return files, output.read_text(encoding="utf-8")


def test_every_number_is_that_of_its_file(written):
    files, text = written
    found = Page(text)
    known = {Path(f).name: json.loads(Path(f).read_text(encoding="utf-8")) for f in [*files, RECORDED]}
    known["prices"] = json.loads(found.block)["prices"]
    assert len(found.numbers) > 500
    used = set()
    for attributes, shown in found.numbers:
        value = float(attributes["data-value"])
        assert recomputed(attributes, known) == pytest.approx(value, rel=1e-9)
        if shown:
            rounded = Decimal(shown.strip("~x"))
            last = 10.0 ** rounded.as_tuple().exponent  # of its digits
            difference = "-" in attributes["data-formula"]  # it has the digits of what it is between
            assert abs(float(rounded) - value) <= 0.5000001 * last
            assert last < 0.11 * abs(value) or value == 0 or (difference and last <= 0.01)
        used |= {place.split("#")[0] for place in attributes["data-sources"].split()}
    assert used == {"my%20cpu.json", "scaling.json", "passes.json", "finetuning.json", "cpu-minilm.json", "prices"}
    assert not [t for t in found.loose if re.search(r"\d", t) and re.fullmatch(r"[\s~(]*[\d.e+-]+[x)\s]*", t)]
    assert set(json.loads(found.block)["files"]) == used - {"prices"}


def test_a_wrong_number_would_be_found(written):
    files, text = written
    known = {Path(files[0]).name: json.loads(Path(files[0]).read_text(encoding="utf-8"))}
    attributes = next(a for a, _ in Page(text).numbers if a["data-formula"] == "a" and "my%20cpu" in a["data-sources"])
    known["my cpu.json"]["models"][0]["engines"][0]["timings"]["1x64"]["median_ms"] *= 1.1
    values = [recomputed(a, known) for a, _ in Page(text).numbers if a["data-sources"] == attributes["data-sources"]]
    assert any(v != float(attributes["data-value"]) for v in values)


def test_the_page_is_whole_and_safe(written):
    tags = Page(written[1]).tags
    assert not [a for _, a in tags if {"src", "xlink:href"} & set(a)]
    assert all(a["href"].startswith("#") for _, a in tags if "href" in a)
    assert not re.search(r"url\(|@import|https?:", written[1])
    assert [t for t, _ in tags].count("script") == 1 and [t for t, _ in tags].count("b") == 0  # names are escaped
    targets = {a["id"] for _, a in tags if "id" in a}
    assert {a["href"][1:] for _, a in tags if "href" in a} <= targets


def test_tables_and_pictures_can_be_read_without_eyes(written):
    tags = Page(written[1]).tags
    names = [t for t, _ in tags]
    assert names.count("table") == names.count("caption") > 5
    assert all(a.get("scope") in ("col", "row") for t, a in tags if t == "th")
    assert all(a["role"] == "img" and a["aria-label"] for t, a in tags if t == "svg") and "svg" in names
    assert sum(a.get("tabindex") == "0" for _, a in tags) == names.count("table")  # scrolls by keyboard
    assert "prefers-color-scheme: dark" in written[1] and dict(tags)["html"]["lang"] == "en"
    assert written[1].count("<title>") > 100  # of marks


def test_what_is_drawn(tmp_path):
    file = result_files.read(Path(content.written(tmp_path, cpu=content.cpu())[0]))
    found = contents.sections([file])
    titles = [s.title.split(":")[0] for s in found]
    assert titles == ["Which engine", "Latency", "Latency by sequence length", "Throughput by batch",
                      "Speed-up over torch-float32", "Error against speed"]
    speedup = found[4].tables[0].rows
    assert [row[0] for row in speedup] == ["native-float32", "native-int8", "torch-float32"]
    assert [cell[0].text for cell in speedup[0][1:]] == ["1.3e-06", "2.00x", "2.06x", "1.98x", "2.41x"]  # sst: the best
    assert found[3].tables[0].rows[1][3][0].text == "383"  # 8 rows in 20.9 ms
    other = contents.sections([file], "native-int8")
    assert next(s for s in other if s.title.startswith("Speed")).tables[0].rows[1][2][0].text == "1.00x"
    assert file.failures == ["tiny <b>&, openvino-float32: it <broke>."]


def test_costs_of_instances(tmp_path):
    from bertpass.bench.pages import cost, prices

    path = Path(content.written(tmp_path, scaling=content.scaling())[0])
    listed = prices.read()
    offers = cost.offers(cost.read(path), {path.name: listed.of("c5.xlarge")}, listed, extrapolate=False)
    section = contents.costs(offers, listed)[0]
    dollars = [row[1][0].value for row in section.tables[0].rows]
    assert dollars == sorted(dollars) == pytest.approx([o.dollars for o in offers]) and len(dollars) == 8


def test_labels_do_not_cover_each_other():
    points = [(charts.Shown("", x, "a", ()), charts.Shown("", y, "a", ())) for x, y in ((1, 5.0), (2, 5.0))]
    series = [charts.Series(f"engine {n}", "native", points) for n in range(4)]
    text = svg.draw(charts.LineChart("t", series, "x", "y"))
    heights = sorted(float(y) for y in re.findall(r'y="([\d.]+)"[^>]*>engine', text))
    assert len(heights) == 4 and min(b - a for a, b in itertools.pairwise(heights)) >= 12


def test_labels_do_not_cover_marks():
    def point(x, y):
        return charts.Shown("", x, "a", ()), charts.Shown("", y, "a", ())

    series = [charts.Series("long name of an engine", "native", [point(1.0, 5.0)]),
              charts.Series("far", "native", [point(2.0, 5.05), point(100.0, 5.0)]),
              charts.Series("low", "native", [point(1.0, 0.01)])]
    text = svg.draw(charts.LineChart("t", series, "x", "y", joined=False))
    marks = [(float(x), float(y)) for x, y in re.findall(r'translate\(([\d.]+),([\d.]+)\)"\s*d=', text)]
    labels = re.findall(r'<text x="([\d.]+)" y="([\d.]+)" class="" text-anchor="start" >([a-z ]+)<', text)
    assert (len(marks), len(labels)) == (4, 3)
    for x, y, name in ((float(x), float(y) - 4, name) for x, y, name in labels):
        assert not [m for m in marks if x < m[0] < x + charts.LETTER * len(name) and abs(m[1] - y) < 8]


def test_markdown_has_the_same_figures(tmp_path):
    files = content.written(tmp_path, cpu=content.cpu(), finetuning=content.finetuning())
    assert main(["bench", "report", *files, "--output", str(tmp_path / "r.md"), "--title", "My page"]) == 0
    text = (tmp_path / "r.md").read_text(encoding="utf-8")
    assert text.startswith("# My page\n") and "| native-int8 | 1.50 (1.43–1.57) | 2.51 (2.38–2.63) |" in text
    assert "| SST, seed 2 | 0.8875 | 0.885 | 52.2 | 30.5 | 1.71x |" in text
    assert "openvino-float32: it <broke>." in text and "bertpass bench x" in text


@pytest.mark.parametrize("words, code, sentence", [
    ([], 2, "RESULTS is needed"),
    (["{cpu}", "--output", "page.pdf"], 2, "ends in .html or .md"),
    (["{cpu}", "{cpu}"], 2, "different names"),
    (["{cpu}", "--prices", "p.yaml"], 2, "--machine"),
    (["{cpu}", "--baseline", "torch"], 2, "Did you mean 'torch-float32'?"),
    (["{cpu}", "--machine", "c5.xlrge"], 2, "Did you mean 'c5.xlarge'?"),
    (["{passes}", "--machine", "c5.xlarge"], 2, "only files of bench cpu and scaling"),
    (["{no}"], 3, "cannot be read"),
    (["{list}"], 3, "no result file"),
    (["{cut}"], 3, "not whole"),
    (["{zero}"], 3, "/median_ms is no positive number"),
    (["{empty}"], 3, "nothing was measured"),
])
def test_bad_inputs(words, code, sentence, tmp_path, capsys):
    cut, zero, empty = content.cpu(), content.cpu(), content.cpu()
    del cut["models"][0]["workloads"]
    zero["models"][0]["engines"][0]["timings"]["1x64"]["median_ms"] = 0
    empty["models"] = []
    content.written(tmp_path, cpu=content.cpu(), passes=content.passes(), list=[1], cut=cut, zero=zero, empty=empty)
    names = {name: str(tmp_path / f"{name}.json") for name in ("cpu", "passes", "list", "cut", "zero", "empty", "no")}
    output = [] if "--output" in words else ["--output", str(tmp_path / "r.html")]
    assert main(["bench", "report", *(word.format(**names) for word in words), *output]) == code
    assert sentence in capsys.readouterr().err and not (tmp_path / "r.html").exists()


def test_names_of_bars_are_whole():
    name = "mxnet-encoder-bfloat16, batch 32"
    text = svg.draw(charts.BarChart("t", [charts.Bar(name, charts.Shown("1", 1.0, "a", ()), "mxnet", True)], "ms"))
    right = float(re.search(rf'<text x="([\d.]+)"[^>]*>{name}', text)[1])
    assert right >= 6.1 * len(name) and "</svg>" in text
