"""Flags of scripts/embedding.py and scripts/export.py, and their checks before any long work."""

from __future__ import annotations

from dataclasses import dataclass

from bertpass.errors import UsageError
from bertpass.options import check_output_folder, check_paths, flag, gpu_flag

OOV_WAYS = ("avg", "sum", "last")


@dataclass
class WordVectorOptions:
    """Flags of scripts/embedding.py, as published."""

    model: str = flag("bert_12_768_12", "model: a published name, minilm or a folder", group="model",
                      aliases=("--bert_model",))
    dataset_name: str = flag("book_corpus_wiki_en_uncased", "data set of the pretrained weights; it decides the "
                             "vocabulary", group="model")
    params_path: str | None = flag(None, "weights (.params) instead of the model's", group="model")
    vocab: str | None = flag(None, "vocabulary file (.vocab, vocab.txt or tokenizer.json) for a .params file without "
                             "one next to it", group="model", rare=True)
    sentencepiece: str | None = flag(None, "published flag that is refused: SentencePiece vocabularies are not "
                                     "supported here", group="model", rare=True)
    max_seq_length: int = flag(128, "longest row in tokens; longer texts are cut", group="data", least=4, most=8192)
    batch_size: int = flag(256, "rows per batch", group="data", least=1)
    oov_way: str = flag("avg", "how the pieces of a word become its vector", group="data", choices=OOV_WAYS)
    sentences: list[str] = flag([], "texts to embed", group="data", nargs="+")
    file: str | None = flag(None, "file with one text per line", group="data")
    dtype: str = flag("float32", "precision; float16 needs a GPU", group="inference", choices=("float32", "float16"))
    gpu: int | None = gpu_flag("inference")

    def check(self) -> None:
        """Checks that need no model."""
        if self.sentencepiece:
            raise UsageError("--sentencepiece: models with a SentencePiece vocabulary are not supported; take one with "
                             "WordPiece (BERT) or byte-level BPE (RoBERTa).")
        if not self.sentences and not self.file:
            raise UsageError("give texts by --sentences, or a file of them by --file.")
        check_paths(self, "file", "params_path", "vocab")


@dataclass
class ExportPairOptions:
    """Flags of scripts/export.py, as published."""

    task: str = flag("", "head of the model", group="model", required=True,
                     choices=("classification", "regression", "question_answering"))
    model_parameters: str | None = flag(None, "fine-tuned weights; without this flag the weights are random, with a "
                                        "warning", group="model")
    model_name: str | None = flag(None, "bert_12_768_12, bert_24_1024_16 or another name or folder; needed where the "
                                  "weights do not say it", group="model", aliases=("--bert_model",))
    dataset_name: str = flag("book_corpus_wiki_en_uncased", "data set of the pretrained weights; it decides the "
                             "vocabulary", group="model")
    vocab: str | None = flag(None, "vocabulary file (.vocab, vocab.txt or tokenizer.json) for a .params file without "
                             "one next to it", group="model", rare=True)
    num_heads: int | None = flag(None, "attention heads of a .params file that is not 768 or 1024 wide, or whose heads "
                                 "are not of size 64", group="model", least=1, rare=True)
    dropout: float = flag(0.1, "published flag without effect: an exported graph for inference has no dropout",
                          group="model", least=0, most=0.9)
    seq_length: int = flag(64, "tokens of the row that the speed is measured with, plus 10", group="data", least=4,
                           most=8192)
    output_dir: str = flag("./output_dir", "folder of the pair, OUTPUT_DIR/TASK-symbol.json and "
                           "OUTPUT_DIR/TASK-0000.params", group="output")

    def check(self) -> None:
        """Checks that need no model."""
        check_paths(self, "model_parameters", "vocab")
        check_output_folder("output_dir", self.output_dir)
