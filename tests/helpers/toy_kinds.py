"""Toy data of the kinds of tasks that are no plain classification, made of :mod:`toy`'s words.

Tokens: names are persons, an adjective before a name is part of it, "film" and "plot" are things. Several labels: which
groups of words a text has a word of. Ranking: of a query's passages the one with a good word is relevant.
"""

import csv
import json
import random

from tests.helpers.toy import ADJECTIVES, BAD, FILLER, GOOD, NAMES

PLAIN = [word for word in FILLER if not word.startswith("#") and word not in ("film", "plot")]
TRAIN, DEV = 160, 48


def tagged(source):
    """Words and their tags in IOBES."""
    found = [(word, "O") for word in source.choices(PLAIN, k=source.randint(1, 4))]
    for _ in range(source.randint(1, 2)):
        found += source.choice([
            lambda: [(source.choice(NAMES), "S-PER")],
            lambda: [(source.choice(ADJECTIVES), "B-PER"), (source.choice(NAMES), "E-PER")],
            lambda: [(source.choice(["film", "plot"]), "S-MISC")]])()
        found += [(word, "O") for word in source.choices(PLAIN, k=source.randint(1, 2))]
    return found


def labelled(source):
    """A text and the names of its labels, of which there may be none."""
    groups = {"praise": GOOD, "people": NAMES, "manner": ADJECTIVES}
    chosen = [name for name in groups if source.random() < 0.4]
    words = source.choices(PLAIN, k=source.randint(2, 4)) + [source.choice(groups[name]) for name in chosen]
    source.shuffle(words)
    return " ".join(words), chosen


def ranked(source, query):
    """(query, passage, relevance) of four passages, one of them relevant."""
    right = source.randrange(4)
    passages = [" ".join([*source.choices(PLAIN, k=3), source.choice(GOOD if at == right else BAD)]) for at in range(4)]
    return [(query, passage, int(at == right)) for at, passage in enumerate(passages)]


def write(root):
    """Write NER/ in CoNLL-2003's layout, several.*, values.*, ranking.*; returns ``root``."""
    (root / "CoNLL-2003").mkdir(parents=True)
    for split, name, count, seed in (("train", "train", TRAIN, 1), ("valid", "dev", DEV, 2), ("test", "test", 6, 3)):
        source = random.Random(seed)
        sentences = ["".join(f"{word} XX {tag}\n" for word, tag in tagged(source)) for _ in range(count)]
        (root / "CoNLL-2003" / f"{split}.txt").write_text("-DOCSTART- X O\n\n" + "\n".join(sentences))
        texts = [labelled(source) for _ in range(count if name != "train" else 3 * count)]
        with (root / f"several.{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", "label"), *((text, ";".join(names)) for text, names in texts)])
        with (root / f"several.{name}.jsonl").open("w") as file:
            file.writelines(json.dumps({"text": text, "labels": names}) + "\n" for text, names in texts)
        with (root / f"values.{name}.csv").open("w", newline="") as file:
            rows = (labelled(source)[0] for _ in range(count if name != "train" else 3 * count))
            csv.writer(file).writerows([("text", "praise", "people"), *(
                (text, sum(word in GOOD for word in text.split()), 2 * sum(word in NAMES for word in text.split()) - 1)
                for text in rows)])
        with (root / f"ranking.{name}.tsv").open("w") as file:
            file.write("query\tpassage\trelevance\tgroup\n")
            for at in range(count // 2):
                file.writelines("\t".join(map(str, row)) + f"\tg{at}\n" for row in ranked(source, "who is it ?"))
    return root
