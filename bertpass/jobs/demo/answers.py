"""The question-answering model of ``make demo-serve``: MiniLM, fine-tuned in a few minutes."""

from __future__ import annotations

from pathlib import Path

from bertpass.base.files import write_json
from bertpass.errors import DataError
from bertpass.jobs.demo import made_questions
from bertpass.jobs.training import squad
from bertpass.text.data.tasks import find_split, get_task
from bertpass.text.files import read_json

PARAGRAPHS, DEV_PARAGRAPHS = 1500, 60
#: development questions of SQuAD that are answered in the end; all 10,570 would take longer than the training
DEV_QUESTIONS = 200


def train(folder: Path, data_dir: str | None, steps: int) -> Path:
    """Fine-tune MiniLM; returns its bundle in ``folder``.

    With ``data_dir`` on its SQuAD 1.1 (SQuAD/train-v1.1.json), else on questions made by rules, for which see
    :mod:`bertpass.jobs.demo.made_questions`: it says which.

    Raises
    ------
    DataError
        There is no SQuAD below ``data_dir``.
    """
    dev = folder / "dev.json"
    if data_dir is not None:
        task = get_task("QA")
        train_file = find_split(task, data_dir, "train")[0]
        write_json(dev, _first(find_split(task, data_dir, "dev")[0], DEV_QUESTIONS))
        print(f"   on the questions of {train_file}")
    else:
        train_file = folder / "train.json"
        write_json(train_file, made_questions.made(PARAGRAPHS, 0))
        write_json(dev, made_questions.made(DEV_PARAGRAPHS, 0, held_out=True))
        print("   on questions made by rules: it learns to look things up in plain sentences and no more; for a better "
              "one set BERTPASS_DATA, or QA=BUNDLE of your own")
    result = squad.run(squad.SquadOptions(
        bert_model="minilm", train_file=str(train_file), dev_file=str(dev), max_seq_length=256 if data_dir else 128,
        batch_size=8, lr=3e-4, training_steps=steps, output_dir=str(folder)))
    metrics = result["metrics"]
    print(f"   {metrics['exact']:.0f} % of {result['dev_questions']} questions that it was not trained on are "
          f"answered exactly, F1 {metrics['f1']:.0f}")
    return folder / "bundle"


def _first(path: Path, count: int) -> dict[str, object]:
    """The first questions of a SQuAD file, in its own layout, paragraphs whole."""
    left, articles = count, []
    for article in read_json(path)["data"]:
        paragraphs = []
        for paragraph in article["paragraphs"]:
            if left > 0:
                paragraphs.append(paragraph)
                left -= len(paragraph["qas"])
        articles += [{**article, "paragraphs": paragraphs}] if paragraphs else []
    if left == count:
        raise DataError(f"{path}: there is no question in it.")
    return {"version": "1.1", "data": articles}
