"""A server that is started and asked as a person would: nearest sentences, and embeddings by the openai package."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bertpass import extras
from bertpass.bench.traffic.servers import Server, serve_command
from bertpass.errors import ModelError, ServerError

SENTENCES = ("The lighthouse at Norvik was designed by Greta Belmont.", "It was built in 1874 and is made of granite.",
             "It rises 41 metres above the ground.", "Some 300 people visit it every day.")
QUESTIONS = ("Who designed the lighthouse?", "In which year was it built?", "How many people visit it?")
REVIEW = "a gripping, beautifully acted film"
TEXTS = ("A man is eating food.", "Somebody eats.", "The train leaves at noon.")
REVIEWS = Path("demo_output/model/bundle")  # what `make demo` makes


def run(output_dir: str, qa: str | None = None, keep: bool = False) -> None:
    """Serve MiniLM, the demo's model where it is there, and ``qa`` where it is given; ask them; with ``keep`` go on
    until Ctrl-C.

    Raises
    ------
    MissingDependencyError
        The server or its client is not installed.
    ModelError
        ``qa`` is not there.
    ServerError
        The server does not start.
    """
    for module in ("fastapi", "uvicorn", "prometheus_client", "greenlet"):
        extras.require(module, "serve")
    openai = extras.require("openai", "test")
    if qa is not None and not Path(qa).exists():
        raise ModelError(f"--qa {qa}: there is no such model.")
    models = {"embeddings": "minilm"}
    if (REVIEWS / "bundle.json").is_file():
        models["reviews"] = str(REVIEWS)
    if qa is not None:
        models["qa"] = qa
    print("1. bertpass serve")
    with _serving(Path(output_dir), [f"{name}={path}" for name, path in models.items()]) as url:
        print("2. questions over HTTP: the sentence that is nearest to each")
        _search(url)
        print("3. embeddings with the openai package")
        _embed(openai.OpenAI(base_url=f"{url}/v1", api_key="none is needed"), url)
        if "reviews" in models:
            print("4. the model of make demo")
            _show(url, "/predict", {"inputs": REVIEW, "model": "reviews"})
        if "qa" in models:
            print("5. your model")
            _show(url, "/qa", {"question": QUESTIONS[0], "context": " ".join(SENTENCES), "model": "qa"})
        if keep:
            print(f"the page for people: {url} (Ctrl-C ends the server)")
            while True:
                time.sleep(3600)
    print("the server has ended; `make demo-serve KEEP=1` leaves it running, with a page for people")


@contextlib.contextmanager
def _serving(folder: Path, models: Sequence[str]) -> Iterator[str]:
    """The address of a server with these models."""
    server = Server("bertpass serve", serve_command(models), "embeddings", folder / "server.log")
    url = f"http://127.0.0.1:{server.port}"
    print(f"   bertpass serve {' '.join(models)} --port {server.port}")
    with server:
        start = time.monotonic()
        while True:
            server.check_alive()
            with contextlib.suppress(urllib.error.URLError, ConnectionError):
                _get(url + "/ready")
                break
            if time.monotonic() - start > 300:
                raise ServerError("the server is not ready after 300 seconds; its log is in " + str(folder))
            time.sleep(0.1)
        print(f"   ready after {time.monotonic() - start:.1f} s")
        yield url


def _get(url: str, body: Any = None) -> Any:
    request = urllib.request.Request(url, None if body is None else json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def _show(url: str, path: str, body: Any) -> Any:
    """Send a body, print it as a command and what came back."""
    print(f"   curl {url}{path} -H 'Content-Type: application/json' -d '{json.dumps(body)}'")
    answer = _get(url + path, body)
    print(f"   {json.dumps(answer)}")
    return answer


def _search(url: str) -> None:
    for question in QUESTIONS:
        body = {"inputs": {"source_sentence": question, "sentences": SENTENCES}, "model": "embeddings"}
        cosines = _show(url, "/similarity", body)
        best = max(zip(cosines, SENTENCES, strict=True))
        print(f"   {question} {best[1]} ({best[0]:.2f})")


def _embed(client: Any, url: str) -> None:
    print(f"   openai.OpenAI(base_url='{url}/v1', api_key='none is needed')."
          f"embeddings.create(model='embeddings', input={list(TEXTS)})")
    made = client.embeddings.create(model="embeddings", input=list(TEXTS))
    first, *others = (item.embedding for item in made.data)
    print(f"   {len(made.data)} embeddings of {len(first)} numbers, {made.usage.total_tokens} tokens")
    for text, vector in zip(TEXTS[1:], others, strict=True):
        print(f"   cosine {sum(a * b for a, b in zip(first, vector, strict=True)):.2f}: {TEXTS[0]} {text}")
