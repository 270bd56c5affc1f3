"""From a file of texts and labels to a model that predicts them: python examples/finetune_csv.py [FOLDER]

Twenty reviews are too few for a good model; your own file has the same two columns.
"""

import csv
import sys
from pathlib import Path

import bertpass
from bertpass.commands.main import main

GOOD = ["a moving film", "funny and warm", "the cast is wonderful", "I loved every minute", "a clever script",
        "beautiful pictures", "worth every penny", "the best of this year", "a great surprise", "full of life"]
BAD = ["a dull film", "cold and slow", "the cast is lost", "I hated every minute", "a stupid script",
       "ugly pictures", "a waste of money", "the worst of this year", "a sad mistake", "without any life"]

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "reviews")
folder.mkdir(parents=True, exist_ok=True)
with (folder / "train.csv").open("w", newline="", encoding="utf-8") as file:
    rows = csv.writer(file)
    rows.writerow(["text", "label"])
    rows.writerows([[text, "positive"] for text in GOOD] + [[text, "negative"] for text in BAD])

code = main(["finetune", "classifier", "--bert_model", "minilm", "--train_file", str(folder / "train.csv"),
             "--dev_file", str(folder / "train.csv"), "--epochs", "5", "--batch_size", "10", "--lr", "1e-4",
             "--output_dir", str(folder / "model")])
if code:
    sys.exit(code)
for text in ("a warm and clever film", "slow, cold, a waste"):
    print(text, "->", bertpass.load(folder / "model" / "bundle").predict(text))
