"""The page at /: its files without a browser, and what a person sees in a real Chromium."""

import contextlib
import re
import shutil
from html.parser import HTMLParser

import pytest

from bertpass.serving.http import page
from tests.helpers.served import ROOT, Process, httpx

STATIC = ROOT / "bertpass" / "serving" / "static"
REFUSED = "Failed to load resource: the server responded"  # the browser's own words for any answer but 200
MODELS = ("classification", "embedding", "qa", "tokens", "ranking", "sparse", "mlm", "late")


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
        tab.click("#run")
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
    ask(tab, "embedding", texts="one\nsmall\none\nthree")
    body = {"inputs": {"source_sentence": "one", "sentences": ["small", "one", "three"]}}
    values = sorted(httpx.post(url + "/similarity", json=body).json(), reverse=True)
    rows = tab.locator(".bars li")
    assert [row.split("\n")[-1] for row in rows.all_inner_texts()] == [f"{value:.3f}" for value in values]
    assert [rows.nth(at).get_attribute("class") for at in range(3)] == ["best", None, None] and values[0] > values[1]
    assert rows.nth(0).inner_text().startswith("one")
    ask(tab, "tokens", words="angela merkel in berlin")
    found = httpx.post(url + "/ner", json={"inputs": "angela merkel in berlin"}).json()
    assert tab.locator(".text mark").count() == len(found) > 0
    ask(tab, "ranking", query="q", passages="first\nsecond\nthird")
    rows = tab.locator(".bars li").all_inner_texts()
    assert sorted(row.split("\n")[0] for row in rows) == ["first", "second", "third"]


def test_words_and_late_interaction(tab, url):
    ask(tab, "sparse", text="abc")
    (words,) = httpx.post(url + "/embed_sparse", json={"inputs": "abc"}).json()
    best = max(words, key=lambda each: each["value"])
    rows = tab.locator(".bars li").all_inner_texts()
    assert rows[0].split("\n")[0] == f"id {best['index']}" and len(rows) == min(10, len(words))
    ask(tab, "mlm", masked="a [MASK] c [MASK]")
    found = httpx.post(url + "/", json={"inputs": "a [MASK] c [MASK]", "model": "mlm"}).json()
    assert [row.split("\n")[0] for row in tab.locator(".bars li").all_inner_texts()] == \
        [each["token_str"] for words in found for each in words]
    ask(tab, "late", query="q", passages="first\nsecond")
    ranked = httpx.post(url + "/rerank", json={"query": "q", "texts": ["first", "second"], "model": "late"}).json()
    assert [row.split("\n")[0] for row in tab.locator(".bars li").all_inner_texts()] == \
        [["first", "second"][each["index"]] for each in ranked]


def test_bars_begin_at_zero(tab):
    """Of values below it as well: a bar is between its value's place and that of zero; the best is the highest."""
    tab.route("**/similarity", lambda route: route.fulfill(json=[-1.0, 0.5, -0.25]))
    ask(tab, "embedding", texts="one\nopposite\nnear\nother")
    assert [row.split("\n")[0] for row in tab.locator(".bars li").all_inner_texts()] == ["near", "other", "opposite"]
    assert tab.locator(".bars .best").all_inner_texts() == ["near\n0.500"]
    styles = tab.evaluate("[...document.querySelectorAll('.bars .bar')].map((bar) => [...bar.children].map("
                          "(each) => [each.className, each.style.left, each.style.width]))")
    assert styles == [[["", "50%", "25%"], ["zero", "50%", ""]], [["", "37.5%", "12.5%"], ["zero", "50%", ""]],
                      [["", "0%", "50%"], ["zero", "50%", ""]]]


def test_refusals_are_told(tab):
    tab.select_option("#model", "classification")
    tab.fill("#text", "")
    with tab.expect_response(lambda response: response.status == 400):
        tab.click("#run")
    tab.wait_for_selector("#error:not([hidden])")
    assert tab.inner_text("#error") == "inputs must not be empty."


def test_no_answer_stays_beside_another_question(tab):
    """Neither under an error, nor under another model, nor while the next one is computed, nor when it comes late."""
    ask(tab, "tokens", words="angela merkel in berlin")
    assert tab.locator("#result mark").count()
    tab.select_option("#model", "ranking")
    assert tab.inner_text("#result") == "Nothing was asked yet." and tab.is_hidden("#time")
    ask(tab, "ranking", query="q", passages="first\nsecond")
    tab.fill("#passages", "word " * 500)
    tab.click("#run")
    tab.wait_for_selector("#error:not([hidden])")
    assert "tokens" in tab.inner_text("#error") and tab.inner_text("#result") == "" and tab.is_hidden("#time")
    waiting = []
    tab.route("**/predict", lambda route: waiting.append(route))
    tab.select_option("#model", "classification")
    tab.click("#run")
    tab.wait_for_function("document.getElementById('result').innerText == 'computing …'")
    assert tab.is_hidden("#error") and tab.is_disabled("#run")
    tab.select_option("#model", "embedding")
    with tab.expect_response("**/predict"):
        waiting[0].continue_()
    ask(tab, "embedding", texts="one\ntwo")
    assert tab.locator("#result .bars li").count() == 1


def test_long_texts_are_cut_where_that_is_chosen(tab):
    for model, field in (("embedding", "texts"), ("classification", "text"), ("ranking", "passages"),
                         ("qa", "question")):
        tab.select_option("#model", model)
        tab.fill(f"#{field}", "word " * 500)
        tab.uncheck("#cut")
        tab.click("#run")
        tab.wait_for_selector("#error:not([hidden])")
        assert '"truncate": true' in tab.inner_text("#error")
        tab.check("#cut")
        tab.click("#run")
        tab.wait_for_selector("#time:not([hidden])")
        assert tab.is_hidden("#error")
    tab.select_option("#model", "tokens")
    assert tab.is_hidden("#cut")
    ask(tab, "tokens", words="angela merkel in berlin")


def test_a_server_that_is_gone_and_comes_back(browser, url):
    """Through what a browser sees of it: no connection, and a proxy's page of its own."""
    with contextlib.closing(browser.new_page()) as tab:
        tab.goto(url)
        tab.wait_for_selector("#fields label")
        tab.select_option("#model", "classification")
        tab.route("**/*", lambda route: route.abort())
        tab.click("#run")
        tab.wait_for_selector("#error:not([hidden])")
        assert tab.inner_text("#error").startswith("The server does not answer.")
        tab.wait_for_selector("#state[data-good=false]")
        assert tab.inner_text("#state") == "the server does not answer"
        tab.unroute("**/*")
        tab.wait_for_selector("#error", state="hidden")
        tab.wait_for_selector("#state[data-good=true]")
        tab.route("**/predict", lambda route: route.fulfill(status=502, content_type="text/html", body="<html>Bad"))
        tab.click("#run")
        tab.wait_for_selector("#error:not([hidden])")
        assert tab.inner_text("#error").startswith("The answer was 502, and not from bertpass")
        tab.route("**/info", lambda route: route.abort())
        tab.reload()
        tab.wait_for_selector("#error:not([hidden])")
        assert tab.is_hidden("#model") and tab.is_hidden("#run")
        tab.unroute("**/info")
        tab.wait_for_selector("#fields label")  # by itself


def test_pause(tab):
    assert tab.inner_text("#pause") == "Pause"
    tab.click("#pause")
    assert tab.inner_text("#pause") == "Resume"
    tab.click("#pause")
    assert tab.inner_text("#pause") == "Pause"


def test_the_keyboard_is_enough(tab):
    seen = []
    for _ in range(12):
        tab.keyboard.press("Tab")
        seen.append(tab.evaluate("document.activeElement.id || document.activeElement.textContent.trim()"))
    order = ["Skip to the form", "API", "Configuration", "Metrics", "model", "text", "second", "cut", "run", "pause"]
    assert [each for each in seen if each in order][:len(order)] == order
    tab.focus("#text")
    with tab.expect_response(lambda response: response.url.endswith("/predict")):
        tab.keyboard.press("Control+Enter")


def test_the_plots_move(tab, url):
    for _ in range(3):
        httpx.post(url + "/embed", json={"inputs": "abc"})
    tab.route("**/metrics", lambda route: route.fulfill(status=502))
    tab.reload()
    tab.wait_for_selector("#state[data-good=false]")
    assert tab.locator(".top").all_inner_texts() == ["", "", ""]  # no scale before there are figures
    tab.unroute("**/metrics")
    tab.wait_for_selector("#plots path[d^=M]", state="attached", timeout=10_000)
    assert tab.locator(".axis").first.all_inner_texts() == ["a minute ago\nnow"]
    assert tab.inner_text("#state") == "ready, engine processes: 1"
    label = tab.get_attribute("#plots svg", "aria-label")
    assert re.fullmatch(r"Requests per second over the last minute; now answered [\d.]+, failed [\d.]+", label)


def test_a_key_is_asked_for(browser):
    with Process("embedding", "--port", 0, "--engine", "dummy", BERTPASS_SERVE_API_KEY="secret") as server, \
            contextlib.closing(browser.new_page()) as tab:
        tab.goto(server.url())
        for key, told, kind in (("", "This server wants a key.", "note"), ("other", "not the server's", "error"),
                                ("\u043a\u043b\u044e\u0447", "ASCII", "error")):
            tab.fill("#key", key)
            tab.press("#key", "Tab")
            tab.wait_for_selector(f"#error.{kind}:has-text(\"{told}\")")
            assert tab.is_hidden("#model") and tab.locator("nav a:visible").all_inner_texts() == ["Metrics"]
        tab.fill("#key", "secret")
        tab.press("#key", "Tab")
        ask(tab, "embedding", texts="one\ntwo")
        assert tab.locator(".bars li").count() == 1 and tab.is_hidden("#error")
        tab.reload()  # of the same tab: it is not asked for again
        ask(tab, "embedding", texts="one\ntwo")


@pytest.mark.parametrize("width", [320, 390, 1280])
def test_nothing_is_wider_than_the_screen(browser, url, width):
    with contextlib.closing(browser.new_page(viewport={"width": width, "height": 800})) as tab:
        tab.goto(url)
        tab.wait_for_selector("#fields label")
        ask(tab, "qa", question="what?", context="word " * 50 + "x" * 300)
        assert tab.evaluate("document.documentElement.scrollWidth") <= width
        assert tab.is_visible(".hint") == (width > 1000)  # a phone has no Ctrl
        places = tab.evaluate("[...document.querySelectorAll('#times div')].map((each) => each.offsetTop)")
        assert len(places) == 5 and (width < 1000 or len(set(places)) == 1)


def test_the_routes_page_asks_for_nothing_from_elsewhere(tab, url):
    tab.goto(f"{url}/docs")
    tab.get_by_text("/embed_all").wait_for()
