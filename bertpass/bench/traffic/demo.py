"""A server that is started and asked as a person would: questions, and embeddings by the openai package."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bertpass import extras
from bertpass.base.variables import value
from bertpass.bench.traffic.servers import Server, serve_command
from bertpass.errors import ModelError, ServerError

CONTEXT = ("The lighthouse at Norvik was designed by Greta Belmont. It was built in 1874 and is made of granite. "
           "It rises 41 metres above the ground, and some 300 people visit it every day.")
QUESTIONS = ("Who designed the lighthouse?", "When was the lighthouse built?", "How high is the lighthouse?")
TEXTS = ("A man is eating food.", "Somebody eats.", "The train leaves at noon.")
STEPS = 600


def run(output_dir: str, qa: str | None = None, training_steps: int = STEPS, keep: bool = False) -> None:
    """Make a model that answers questions, or take ``qa``, serve it and ask it; with ``keep`` until Ctrl-C.

    Raises
    ------
    MissingDependencyError
        The server or its client is not installed.
    ModelError
        ``qa`` is not there.
    ServerError
        The server does not start.
    """
    for module in ("fastapi", "uvicorn", "prometheus_client"):
        extras.require(module, "serve")
    openai = extras.require("openai", "test")
    folder = Path(output_dir)
    print("1. a model that answers questions")
    model = _model(folder, qa, training_steps)
    print("2. bertpass serve")
    with _serving(folder, model) as url:
        _ask(url)
        _embed(openai.OpenAI(base_url=f"{url}/v1", api_key="none is needed"), url)
        if keep:
            print(f"5. the page for people: {url} (Ctrl-C ends the server)")
            while True:
                time.sleep(3600)
    print("the server has ended; `make demo-serve KEEP=1` leaves it running, with a page for people")


def _model(folder: Path, qa: str | None, training_steps: int) -> str:
    if qa is not None:
        if not Path(qa).exists():
            raise ModelError(f"--qa {qa}: there is no such model.")
        print(f"   {qa}")
        return qa
    data = value("BERTPASS_DATA") or None
    bundle = folder / ("squad" if data else "made") / "bundle"
    if (bundle / "bundle.json").is_file():
        print(f"   made before: {bundle}")
        return str(bundle)
    from bertpass.jobs.demo import answers

    start = time.monotonic()
    answers.train(bundle.parent, data, training_steps)
    print(f"   {bundle}, after {time.monotonic() - start:.0f} s")
    return str(bundle)


@contextlib.contextmanager
def _serving(folder: Path, qa: str) -> Iterator[str]:
    """The address of a server with MiniLM's embeddings and the model for questions."""
    server = Server("bertpass serve", serve_command(["embeddings=minilm", f"qa={qa}"]), "qa", folder / "server.log")
    url = f"http://127.0.0.1:{server.port}"
    print(f"   bertpass serve embeddings=minilm qa={qa} --port {server.port}")
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


def _ask(url: str) -> None:
    body = {"question": QUESTIONS[0], "context": CONTEXT}
    print(f"3. questions over HTTP\n   curl {url}/qa -H 'Content-Type: application/json' -d '{json.dumps(body)}'")
    print(f"   {json.dumps(_get(url + '/qa', body))}")
    for question in QUESTIONS[1:]:
        answer = _get(url + "/qa", {"question": question, "context": CONTEXT})
        print(f"   {question} {answer['answer']} ({answer['score']:.2f})")


def _embed(client: Any, url: str) -> None:
    print(f"4. embeddings with the openai package\n   openai.OpenAI(base_url='{url}/v1', api_key='none is needed')."
          f"embeddings.create(model='embeddings', input={list(TEXTS)})")
    made = client.embeddings.create(model="embeddings", input=list(TEXTS))
    first, *others = (item.embedding for item in made.data)
    print(f"   {len(made.data)} embeddings of {len(first)} numbers, {made.usage.total_tokens} tokens")
    for text, vector in zip(TEXTS[1:], others, strict=True):
        print(f"   cosine {sum(a * b for a, b in zip(first, vector, strict=True)):.2f}: {TEXTS[0]} {text}")
