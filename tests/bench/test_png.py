"""The charts of bench report as PNG files: those of the page, the same numbers, nothing cut or covered."""

import itertools
import json
import re
import sys
from pathlib import Path

import pytest

from bertpass.bench.pages import charts, contents, page, png, result_files, waterfall
from bertpass.commands.main import main
from tests.helpers import ROOT
from tests.helpers import result_content as content

pytest.importorskip("matplotlib", reason="pip install '.[bench]' for the pictures")
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

RESULTS = ROOT / "docs/results/amd-avx512-bf16/cpu-minilm.json"


def read(file):
    with Image.open(file) as image:
        return image.size, image.text


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("png")
    files = content.written(folder, cpu=content.cpu(), passes=content.passes(), finetuning=content.finetuning())
    assert main(["bench", "report", *files, "--output", str(folder / "r.html"), "--machine", "cpu.json=c5.xlarge"]) == 0
    return folder


def test_one_picture_for_each_chart_with_the_numbers_of_the_page(written):
    found = re.findall(r"<svg .*?</svg>", (written / "r.html").read_text(encoding="utf-8"))
    pictures = sorted((written / "r-charts").iterdir())
    assert len(pictures) == len(found) > 20
    for file, svg in zip(pictures, found, strict=True):
        size, text = read(file)
        assert text["Title"] == re.search(r'aria-label="(.*?)"', svg)[1] and png.NAME.fullmatch(file.name)
        numbers = {(n["value"], n["formula"], " ".join(n["sources"])) for n in json.loads(text["Numbers"])}
        assert numbers == {(float(value), formula, sources) for value, formula, sources in re.findall(
            r'data-value="(.*?)" data-formula="(.*?)" data-sources="(.*?)"', svg)}
        assert size[0] == 2 * (charts.WIDTH + 2 * png.MARGIN)


def test_pictures_say_what_they_are_of(written):
    (path,) = (written / "r-charts").glob("*-latency-1x64.png")
    _, text = read(path)
    assert "Shorter is better" in text["Description"] and "tiny <b>& (cpu.json)" in text["Description"]


def drawn(chart, note="A note."):
    """A figure's texts, each with its box in units of the chart."""
    figure = png.draw(Figure, chart, note)
    figure.set_dpi(png.DPI)
    renderer = FigureCanvasAgg(figure).get_renderer()
    texts = figure.axes[0].texts
    boxes = [text.get_window_extent(renderer).transformed(figure.axes[0].transData.inverted()) for text in texts]
    return [(text.get_text(), min(b.x0, b.x1), max(b.x0, b.x1), min(b.y0, b.y1), max(b.y0, b.y1))
            for text, b in zip(texts, boxes, strict=True)]


def test_no_text_is_cut_or_covers_another():
    found = contents.sections([result_files.read(RESULTS)])
    every = page.pictures(found)
    assert len(every) > 25
    for chart, note in every:
        texts = drawn(chart, note)
        assert {n.text for n in chart.numbers} <= {t[0] for t in texts} or isinstance(chart, charts.LineChart)
        limit = png.draw(Figure, chart, note).axes[0].get_ylim()[0]  # of the picture
        for text, left, right, top, low in texts:
            assert left >= -png.MARGIN and right <= charts.WIDTH + png.MARGIN, (chart.heading, text)
            assert top >= -png.MARGIN and low <= limit, (chart.heading, text)
        for a, b in itertools.combinations(texts, 2):
            apart = a[2] <= b[1] or b[2] <= a[1] or a[4] <= b[3] + 2.5 or b[4] <= a[3] + 2.5  # boxes have leading
            assert apart, (chart.heading, a[0], b[0])


def test_a_text_that_is_too_long_would_be_found():
    bar = charts.Bar("native", charts.Shown("a number that has no room", 1.0, "a", ()), "native")
    assert max(text[2] for text in drawn(charts.BarChart("t", [bar], "ms"))) > charts.WIDTH + png.MARGIN


def test_bars_are_as_long_as_their_numbers():
    bars = [charts.Bar("a", charts.Shown("8", 8.0, "a", ()), "native"),
            charts.Bar("b", charts.Shown("-6", -6.0, "a", ()), charts.SAVED, begin=8.0)]
    chart = charts.BarChart("t", bars, "ms", steps=True)
    first, second = png.draw(Figure, chart, "").axes[0].patches
    assert first.get_width() / second.get_width() == pytest.approx(8 / 6)
    assert second.get_x() + second.get_width() == pytest.approx(first.get_x() + first.get_width())


def test_pictures_of_an_earlier_page_go_and_other_files_stay(tmp_path):
    files = content.written(tmp_path, finetuning=content.finetuning())
    folder = tmp_path / "page-charts"
    folder.mkdir()
    for name in ("99-latency-1x64.png", "mine.png", "notes.txt"):
        (folder / name).write_text("x", encoding="utf-8")
    assert main(["bench", "report", *files, "--output", str(tmp_path / "page.html")]) == 0
    assert sorted(f.name for f in folder.iterdir()) == [
        "01-training-sst-seed-2.png", "02-training-sst-seed-3.png", "mine.png", "notes.txt"]


def test_without_matplotlib_the_page_is_written(tmp_path, monkeypatch, capsys):
    files = content.written(tmp_path, cpu=content.cpu())
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert main(["bench", "report", *files, "--output", str(tmp_path / "r.html")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and "pip install '.[bench]'" in lines[1]
    assert (tmp_path / "r.html").is_file() and not (tmp_path / "r-charts").exists()


def test_a_file_where_the_folder_should_be(tmp_path, capsys):
    files = content.written(tmp_path, cpu=content.cpu())
    (tmp_path / "r-charts").write_text("x", encoding="utf-8")
    assert main(["bench", "report", *files, "--output", str(tmp_path / "r.html")]) == 2
    assert "r-charts is a file" in capsys.readouterr().err and not (tmp_path / "r.html").exists()


def test_markdown_has_no_pictures(tmp_path):
    files = content.written(tmp_path, cpu=content.cpu())
    assert main(["bench", "report", *files, "--output", str(tmp_path / "r.md")]) == 0
    assert [f.name for f in tmp_path.iterdir() if f.is_dir()] == []


def ladder_file(tmp_path, *leave_out):
    """A file of bench cpu with the engines of a waterfall; native-int8's spread covers that of bfloat16."""
    found = content.cpu()
    times = {"mxnet-plain": 20.0, "mxnet-encoder-float32": 9.0, "native-float32": 9.5, "native-bfloat16": 5.0,
             "native-int8": 4.9, "torch-float32": 11.0}
    found["models"][0]["engines"] = [content.engine(name, name.startswith("native"), 1e-6, {"1x64": ms})
                                     for name, ms in times.items() if name not in leave_out]
    return result_files.read(Path(content.written(tmp_path, cpu=found)[0]))


def test_a_waterfall_goes_from_plain_to_all(tmp_path):
    steps = waterfall.ladder(ladder_file(tmp_path).points)["1x64", ""]
    chart = waterfall.chart("t", steps)
    first, *between, last = chart.items
    assert (first.label, last.label) == ("mxnet-plain", "native-int8")
    assert first.number.value + sum(item.number.value for item in between) == pytest.approx(last.number.value)
    assert [item.number.text for item in between] == ["-11.0", "~+0.50", "-4.50", "~-0.10"]
    assert [item.colour for item in between] == [charts.SAVED, charts.LOST, charts.SAVED, charts.SAVED]
    assert all(a.end == pytest.approx(b.begin) for a, b in itertools.pairwise([first, *between]))
    assert [cell[-2].text for cell in waterfall.cells(steps)[1:]] == ["2.22x", "0.95x", "1.90x", "1.02x"]


@pytest.mark.parametrize("missing, last", [("native-int8", "native-bfloat16"), ("native-bfloat16", "native-float32"),
                                           ("native-float32", None), ("mxnet-plain", None)])
def test_a_waterfall_ends_where_a_step_is_missing(tmp_path, missing, last):
    found = waterfall.ladder(ladder_file(tmp_path, missing).points)
    assert [steps[-1].engine for steps in found.values()] == ([last] if last else [])


def test_passes_are_no_waterfall(tmp_path):
    found = contents.sections([result_files.read(Path(content.written(tmp_path, passes=content.passes())[0]))])
    assert not [s for s in found if s.title.startswith("Waterfall")]
    assert "not steps of a waterfall" in next(s.note for s in found if s.title.startswith("Speed-up over no pass"))
