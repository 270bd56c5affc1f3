"""`make demo-serve`: from a clone to an answered question over HTTP."""

from __future__ import annotations

import contextlib
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bertpass import extras
from bertpass.bench.traffic.servers import Server, ServerError, serve_command
from bertpass.commands.run import guarded
from bertpass.errors import ModelError
from bertpass.options import check_output_folder, flag, parse

CONTEXT = ("The lighthouse at Norvik was designed by Greta Belmont. It was built in 1874 and is made of granite. "
           "It rises 41 metres above the ground, and some 300 people visit it every day.")
QUESTIONS = ("Who designed the lighthouse?", "When was the lighthouse built?", "How high is the lighthouse?")
TEXTS = ("A man is eating food.", "Somebody eats.", "The train leaves at noon.")
STEPS = 600


@dataclass
class DemoServeOptions:
    """Flags of bertpass demo-serve."""

    output_dir: str = flag("demo_output/serve", "where the model and the server's log go")
    qa: str | None = flag(None, "a question-answering model of your own: a bundle or a Hugging Face folder (default: "
                          "one that is made here, on $BERTPASS_DATA's SQuAD where that is set)")
    training_steps: int = flag(STEPS, "steps of 8 questions to make it", least=1)
    keep: bool = flag(False, "leave the server running until Ctrl-C, for its page")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; returns the exit code."""
    def job() -> None:
        options = parse(DemoServeOptions, argv, "Make a question-answering model, serve it, ask it over HTTP.")
        for module in ("fastapi", "uvicorn", "prometheus_client"):
            extras.require(module, "serve")
        openai = extras.require("openai", "test")
        check_output_folder("output_dir", options.output_dir)
        folder = Path(options.output_dir)
        print("1. a model that answers questions")
        model = _model(options, folder)
        print("2. bertpass serve")
        with _serving(folder, model) as url:
            _ask(url)
            _embed(openai.OpenAI(base_url=f"{url}/v1", api_key="none is needed"), url)
            if options.keep:
                print(f"5. the page for people: {url} (Ctrl-C ends the server)")
                while True:
                    time.sleep(3600)
        print("the server has ended; `make demo-serve KEEP=1` leaves it running, with a page for people")
    return guarded(job)


def _model(options: DemoServeOptions, folder: Path) -> str:
    if options.qa is not None:
        if not Path(options.qa).exists():
            raise ModelError(f"--qa {options.qa}: there is no such model.")
        print(f"   {options.qa}")
        return options.qa
    data = os.environ.get("BERTPASS_DATA") or None
    bundle = folder / ("squad" if data else "made") / "bundle"
    if (bundle / "bundle.json").is_file():
        print(f"   made before: {bundle}")
        return str(bundle)
    from bertpass.jobs.demo import answers

    start = time.monotonic()
    answers.train(bundle.parent, data, options.training_steps)
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
