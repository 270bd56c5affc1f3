"""The page at /: its files without a browser, and what a person sees in a real Chromium."""

import contextlib
import re
import shutil
from html.parser import HTMLParser

import pytest
from served import ROOT, Process, httpx

from bertpass.serving.http import page

STATIC = ROOT / "bertpass" / "serving" / "static"
REFUSED = "Failed to load resource: the server responded"  # the browser's own words for any answer but 200
MODELS = ("classification", "embedding", "qa", "tokens", "ranking")


def test_files_come_along_and_ask_for_nothing_from_elsewhere(serve):
    async def job(client):
        for path, (name, kind) in page.FILES.items():
            reply = await client.get(path)
            assert reply.status_code == 200 and reply.text == (STATIC / name).read_text(encoding="utf-8")
            assert reply.headers["content-type"].startswith(kind)
            assert "default-src 'none'" in reply.headers["content-security-policy"]
            assert not re.findall(r"https?://(?!www\.w3\.org/2000/svg)", reply.text)
        assert {name for name, _ in page.FILES.values()} == {file.name for file in STATIC.iterdir()}
        key = {"authorization": "Bearer secret"}
        described = (await client.get("/openapi.json", headers=key)).json()["paths"]
        assert not any("get" in described.get(path, {}) for path in page.FILES)
        assert (await client.get("/info")).status_code == 401  # the page itself needs no key, what it asks does
    serve(job, "embedding", api_key="secret")


def test_every_field_has_a_label():
    labels, fields = set(), set()

    class Reader(HTMLParser):
        def handle_starttag(self, tag, attributes):
            values = dict(attributes)
            if tag == "label":
                labels.add(values["for"])
            if tag in ("input", "select", "textarea"):
                fields.add(values["id"])
            assert "style" not in values and not any(name.startswith("on") for name in values)

    Reader().feed((STATIC / "index.html").read_text(encoding="utf-8"))
    assert fields and fields == labels


@pytest.fixture(scope="module")
def browser():
    api = pytest.importorskip("playwright.sync_api", reason="pip install '.[test]' for playwright")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("the page's test needs a browser: apt-get install chromium")
    with api.sync_playwright() as playwright, contextlib.closing(
            playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])) as started:
        yield started


@pytest.fixture(scope="module")
def url():
    with Process(*MODELS, "--port", 0, "--engine", "dummy") as server:
        yield server.url()


@pytest.fixture
def tab(browser, url):
    """A page that fails the test for anything in the console, and for any request to another place."""
    with contextlib.closing(browser.new_page()) as opened:
        said, asked = [], []
        opened.on("console", lambda message: said.append(message.text) if REFUSED not in message.text else None)
        opened.on("pageerror", lambda error: said.append(str(error)))
        opened.on("request", lambda request: asked.append(request.url))
        opened.goto(url)
        opened.wait_for_selector("#fields label")
        yield opened
        assert said == [] and all(each.startswith((url, "data:")) for each in asked)


def ask(tab, model, **values):
    tab.select_option("#model", model)
    for name, value in values.items():
        tab.fill(f"#{name}", value)
    with tab.expect_response(lambda response: response.request.method == "POST"):
        tab.click("text=Run")
    tab.wait_for_selector("#time:not([hidden])")


def test_labels_as_bars(tab, url):
    ask(tab, "classification", text="a good film")
    expected = httpx.post(url + "/predict", json={"model": "classification", "inputs": "a good film"}).json()
    rows = tab.locator(".bars li").all_inner_texts()
    assert [row.split("\n")[0] for row in rows] == [each["label"] for each in expected]
    assert f"{expected[0]['score']:.3f}" in rows[0]
    assert tab.locator("#times dd").all_inner_texts()[2].endswith(" ms")
    parts = [float(text.removesuffix(" ms")) for text in tab.locator("#times dd").all_inner_texts()[:4]]
    assert all(part >= 0 for part in parts) and sum(parts) > 0


def test_the_answer_is_highlighted_where_it_stands(tab, url):
    context = "a \U0001f600 b cd e <b>f</b> gh"  # one character for Python, two units for JavaScript; and no HTML
    ask(tab, "qa", question="what?", context=context)
    expected = httpx.post(url + "/qa", json={"question": "what?", "context": context}).json()
    assert expected["answer"] and tab.inner_text(".answer") == expected["answer"]
    assert tab.inner_text(".text mark") == expected["answer"]
    assert tab.inner_text(".text") == context


def test_similarities_entities_and_ranks(tab, url):
    ask(tab, "embedding", texts="one\ntwo\nthree")
    assert len(tab.locator(".bars li").all()) == 2
    ask(tab, "tokens", words="angela merkel in berlin")
    found = httpx.post(url + "/ner", json={"inputs": "angela merkel in berlin"}).json()
    assert tab.locator(".text mark").count() == len(found) > 0
    ask(tab, "ranking", query="q", passages="first\nsecond\nthird")
    rows = tab.locator(".bars li").all_inner_texts()
    assert sorted(row.split("\n")[0] for row in rows) == ["first", "second", "third"]


def test_refusals_are_told(tab):
    tab.select_option("#model", "classification")
    tab.fill("#text", "")
    with tab.expect_response(lambda response: response.status == 400):
        tab.click("text=Run")
    assert tab.inner_text("#error") == "inputs must not be empty."


def test_the_keyboard_is_enough(tab):
    seen = []
    for _ in range(12):
        tab.keyboard.press("Tab")
        seen.append(tab.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    order = ["Skip to the form", "API", "Configuration", "Metrics", "model", "text", "second", "Run", "pause"]
    assert [each for each in seen if each in order][:len(order)] == order
    tab.focus("#text")
    with tab.expect_response(lambda response: response.url.endswith("/predict")):
        tab.keyboard.press("Control+Enter")


def test_the_plots_move(tab, url):
    for _ in range(3):
        httpx.post(url + "/embed", json={"inputs": "abc"})
    tab.wait_for_selector("#plots path[d^=M]", state="attached", timeout=10_000)
    assert tab.inner_text("#state") == "ready, engine processes: 1"
    label = tab.get_attribute("#plots svg", "aria-label")
    assert re.fullmatch(r"Requests a second over the last minute; now answered [\d.]+, failed [\d.]+", label)


def test_a_key_is_asked_for(browser):
    with Process("embedding", "--port", 0, "--engine", "dummy", BERTPASS_SERVE_API_KEY="secret") as server, \
            contextlib.closing(browser.new_page()) as tab:
        tab.goto(server.url())
        tab.fill("#key", "secret")
        tab.press("#key", "Tab")
        ask(tab, "embedding", texts="one\ntwo")
        assert tab.locator(".bars li").count() == 1 and tab.is_hidden("#error")


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen(browser, url, width):
    with contextlib.closing(browser.new_page(viewport={"width": width, "height": 800})) as tab:
        tab.goto(url)
        tab.wait_for_selector("#fields label")
        ask(tab, "qa", question="what?", context="word " * 50 + "x" * 300)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width


def test_the_routes_page_asks_for_nothing_from_elsewhere(tab, url):
    tab.goto(f"{url}/docs")
    tab.get_by_text("/embed_all").wait_for()
