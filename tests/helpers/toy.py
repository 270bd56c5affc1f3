"""A tiny BERT with a WordPiece vocabulary of some 60 tokens, and data that it learns in seconds.

Classification: a text is positive if it holds one of GOOD, negative if one of BAD. Pairs: the feeling of the second
text decides, whatever the first one's is. Regression: how many of three words are good. SQuAD: the answer is the name
in the context; in 2.0 every third context has none.
"""

import csv
import gzip
import json
import random
from pathlib import Path

from tests.helpers import ROOT

LIBRARY = ROOT / "bertpass" / "bertpass_lib.so"

POSITIONS = 48
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
GOOD = ["good", "great", "fine", "lovely"]
BAD = ["bad", "awful", "poor", "dull"]
FILLER = ["the", "a", "film", "plot", "actor", "was", "and", "very", "this", "scene", "so", "##ly"]
NAMES = ["anna", "bert", "carl", "dora", "emil", "fred"]
ADJECTIVES = ["tall", "small", "old", "young", "rich", "quick"]
WORDS = [*FILLER, *GOOD, *BAD, *NAMES, *ADJECTIVES, "who", "is", "?", ".", ",", "it"]
TRAIN, DEV = 128, 48


def write_encoder(folder, seed=0, positions=POSITIONS, head="none", labels=None, **fields):
    """Write a Hugging Face folder with random weights of a size that learns within a few dozen steps; with a head of a
    kind, whose outputs ``labels`` names."""
    from bertpass.model import parameters
    from bertpass.model.config import EncoderConfig, HeadConfig
    from bertpass.model.layouts import huggingface
    from bertpass.model.record import Checkpoint
    from bertpass.text.tokens.tokenizer import Tokenizer

    tokens = SPECIAL + WORDS
    config = EncoderConfig(**{"num_layers": 2, "units": 32, "hidden_size": 64, "num_heads": 4, "use_pooler": True,
                              "max_length": positions, "vocab_size": len(tokens), "dropout": 0.0, **fields})
    params = parameters.random(parameters.encoder_shapes(config), seed, scale=0.05, random_bias=True)
    kind = HeadConfig(head, num_labels=len(labels or [0]) if head not in ("none", "qa", "mlm") else 0)
    params |= parameters.random(parameters.head_shapes(config, kind), seed, scale=0.5, random_bias=True)
    checkpoint = Checkpoint(config, kind, params, Tokenizer.from_wordpiece(tokens, lower=True), labels)
    huggingface.write_folder(folder, checkpoint)
    return folder


def sentence(source, feeling):
    """Some filler with one word of the feeling (0 or 1) in it."""
    words = source.choices([w for w in FILLER if not w.startswith("#")], k=source.randint(2, 7))
    words.insert(source.randrange(len(words)), source.choice(GOOD if feeling else BAD))
    return " ".join(words)


def rows(count, seed):
    """(text, feeling), half of them of each feeling."""
    source = random.Random(seed)
    return [(sentence(source, i % 2), i % 2) for i in range(count)]


def few_rows(folder, train, dev=8):
    """Write own data with so few rows that single batches can be counted; the arguments that name it."""
    for name, count in (("train", train), ("dev", dev)):
        _tsv(folder / f"{name}.tsv", [("text", "label"), *rows(count, 3)])
    return strings("--train_file", folder / "train.tsv", "--dev_file", folder / "dev.tsv")


def _tsv(path, table):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in table), encoding="utf-8")


def write_data(root):
    """Write all toy files below ``root``: glue/, own.*, numbers.*, pairs.*, squad/ (1.1 and 2.0)."""
    for split, count, seed in (("train", TRAIN, 1), ("dev", DEV, 2)):
        texts = rows(count, seed)
        _tsv(root / "glue" / "SST-2" / f"{split}.tsv", [("sentence", "label"), *texts])
        _tsv(root / f"own.{split}.tsv", [("text", "label"), *((t, ("no", "yes")[f]) for t, f in texts)])
        with (root / f"own.{split}.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "label", "text"])
            writer.writerows((f"r{i}", ("no", "yes")[f], t + ", really") for i, (t, f) in enumerate(texts))
        with gzip.open(root / f"own.{split}.jsonl.gz", "wt", encoding="utf-8") as file:
            file.writelines(json.dumps({"text": t, "label": ("no", "yes")[f]}) + "\n" for t, f in texts)
        source = random.Random(seed)
        pairs = [(sentence(source, source.randrange(2)), text, ("no", "yes")[f]) for text, f in texts]
        _tsv(root / f"pairs.{split}.tsv", [("text", "text_pair", "label"), *pairs])
        counts = [source.randint(0, 3) for _ in range(count)]
        _tsv(root / f"numbers.{split}.tsv", [("text", "label"), *(
            (" ".join(["the film was"] + source.choices(GOOD, k=n) + source.choices(BAD, k=3 - n)), n)
            for n in counts)])
    _tsv(root / "own.test.tsv", [("text",), *((t,) for t, _ in rows(6, 5))])
    names = ("neutral", "entailment", "contradiction")
    for name, count, width, seed in (("train", 24, 12, 1), ("dev_matched", 9, 16, 2), ("dev_mismatched", 12, 16, 3)):
        table = []
        for i, (text, _) in enumerate(rows(count, seed)):
            row = ["-"] * width
            row[8], row[9], row[11 if width == 12 else 15] = text, text, names[i % 3]
            table.append(row)
        _tsv(root / "glue" / "MNLI" / f"{name}.tsv", [[f"c{i}" for i in range(width)], *table])
    _tsv(root / "glue" / "STS-B" / "dev.tsv", [["-"] * 10, *(
        [*["-"] * 7, a, b, i % 6] for i, ((a, _), (b, _)) in enumerate(zip(rows(12, 1), rows(12, 2), strict=True)))])
    for split, count, seed in (("train", 160, 1), ("dev", 24, 2)):
        for version in ("1.1", "2.0"):
            write_squad(root / "squad" / f"{split}-v{version}.json", count, seed, version)
    return root


def write_squad(path, count, seed, version="1.1"):
    """One context a question; the answer is the one name in it, or in 2.0 there is none at times."""
    source = random.Random(seed)
    paragraphs = []
    for i in range(count):
        words = source.choices([w for w in FILLER if not w.startswith("#")], k=source.randint(3, 6))
        name = source.choice(NAMES)
        answerable = version == "1.1" or i % 3 > 0
        words.insert(source.randrange(len(words) + 1), name if answerable else source.choice(ADJECTIVES))
        context = " ".join(words)
        question = {"id": f"q{i}", "question": f"who is {source.choice(ADJECTIVES)} ?", "answers": []}
        if answerable:
            question["answers"] = [{"text": name, "answer_start": context.index(name)}]
        if version == "2.0":
            question["is_impossible"] = not answerable
        paragraphs.append({"context": context, "qas": [question]})
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"version": version, "data": [{"title": "people", "paragraphs": paragraphs}]}))


def strings(*argv):
    """A command line as strings."""
    return [str(a) for a in argv]


def classify(encoder, out, *argv):
    """Arguments of finetune_classifier.py: tiny model, small batches, a high learning rate."""
    defaults = ("--bert_model", encoder, "--output_dir", out, "--max_len", 24, "--batch_size", 8, "--lr", "1e-3",
                "--epochs", 5)
    return strings(*defaults, *argv)


def squad(encoder, out, *argv):
    """Arguments of finetune_squad.py, likewise."""
    defaults = ("--bert_model", encoder, "--output_dir", out, "--max_seq_length", 24, "--doc_stride", 8,
                "--max_query_length", 8, "--batch_size", 8, "--lr", "1e-3", "--epochs", 2)
    return strings(*defaults, *argv)


def deploy(*argv):
    """Arguments of deploy.py: short sequences, small batches."""
    return strings("--seq_length", 24, "--test_batch_size", 16, *argv)


def result(folder, name):
    """A JSON file that a job wrote."""
    return json.loads((Path(folder) / name).read_text(encoding="utf-8"))
