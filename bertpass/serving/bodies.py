"""Bodies of requests, and of failures; those of text-embeddings-inference where it has the route."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, Field

Texts = str | list[str]


class Failure(BaseModel):
    """The answer of every status but 200."""

    error: str = Field(description="what is wrong and what to do")
    error_type: str = Field(description="the cause in one word, for programs")


class _Body(BaseModel):
    model: str | None = Field(None, description="which of the served models; default: the first that fits the route")


class Cut(_Body):
    truncate: bool | None = Field(None, description="cut texts that are too long, instead of answering 413")


class Embed(Cut):
    inputs: Texts
    normalize: bool = Field(True, description="scale embeddings to length 1")


class EmbedAll(Cut):
    inputs: Texts


class Predict(Cut):
    inputs: str | list[str] | list[list[str]] = Field(
        description="a text; a list of one or two texts is one text or one pair; a list of such lists is a batch")


class Rerank(Cut):
    query: str
    texts: list[str]
    return_text: bool = False


class Sentences(BaseModel):
    source_sentence: str
    sentences: list[str]


class Similarity(Cut):
    inputs: Sentences


class Pair(BaseModel):
    text: str
    text_pair: str | None = None


class Asked(BaseModel):
    question: str
    context: str


class Question(_Body, Asked):
    max_answer_length: int = Field(30, ge=1)
    handle_impossible_answer: bool = Field(False, description="the answer may be empty (SQuAD 2.0)")


class Tag(_Body):
    inputs: Texts


class Tokenize(_Body):
    inputs: Texts
    add_special_tokens: bool = True


class Decode(_Body):
    ids: list[int] | list[list[int]] = Field(description="ids of one text, or a list of such lists")
    skip_special_tokens: bool = True


class Parameters(BaseModel):
    """Those of Hugging Face's pipelines that mean something here; others are not looked at."""

    top_k: int | None = Field(default=None, ge=1, description="of a classifier: so many labels")
    max_answer_len: int = Field(default=30, ge=1)
    handle_impossible_answer: bool = False


class Pipeline(Cut):
    """Of Hugging Face's endpoints and SageMaker containers; what ``inputs`` hold says which task is meant."""

    inputs: str | list[str] | Sentences | Asked | Pair | None = None
    query: str | None = Field(None, description="with texts, in place of inputs: rank them")
    texts: list[str] = []
    normalize: bool = Field(True, description="scale embeddings to length 1")
    parameters: Parameters = Parameters()


class OpenAIEmbeddings(BaseModel):
    """Of OpenAI's API; token ids in place of texts are not taken."""

    input: Texts
    model: str
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None
    user: str | None = None
