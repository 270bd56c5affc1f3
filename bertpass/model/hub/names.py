"""Names that people know from elsewhere, and what they are called here or on the Hugging Face hub."""

from __future__ import annotations

#: hub ids of BERT, DistilBERT and RoBERTa models that are often named without their organisation
HUB_IDS = (
    "google-bert/bert-base-uncased", "google-bert/bert-base-cased", "google-bert/bert-large-uncased",
    "google-bert/bert-large-cased", "google-bert/bert-base-chinese", "google-bert/bert-base-multilingual-cased",
    "google-bert/bert-base-multilingual-uncased", "google-bert/bert-base-german-cased",
    "distilbert/distilbert-base-uncased", "distilbert/distilbert-base-cased",
    "distilbert/distilbert-base-uncased-finetuned-sst-2-english", "distilbert/distilbert-base-cased-distilled-squad",
    "FacebookAI/roberta-base", "FacebookAI/roberta-large", "FacebookAI/roberta-large-mnli",
    "distilbert/distilroberta-base",
    "sentence-transformers/all-MiniLM-L12-v2", "sentence-transformers/all-distilroberta-v1",
    "sentence-transformers/paraphrase-MiniLM-L6-v2", "sentence-transformers/multi-qa-MiniLM-L6-cos-v1",
    "cross-encoder/ms-marco-MiniLM-L-6-v2", "cross-encoder/ms-marco-MiniLM-L-12-v2",
    "BAAI/bge-small-en-v1.5", "BAAI/bge-base-en-v1.5", "BAAI/bge-large-en-v1.5", "intfloat/e5-small-v2",
    "intfloat/e5-base-v2", "intfloat/e5-large-v2", "thenlper/gte-small", "thenlper/gte-base", "thenlper/gte-large",
    "deepset/bert-base-cased-squad2", "deepset/roberta-base-squad2", "dslim/bert-base-NER",
)
#: what has a name of its own here
OURS = {"all-minilm-l6-v2": "minilm", "all-mpnet-base-v2": "mpnet"}


def meant(name: str) -> str:
    """The name that was probably meant, or an empty string."""
    last = name.rpartition("/")[2].lower()
    return OURS.get(last) or next((known for known in HUB_IDS if known.lower().endswith("/" + last)), "")
