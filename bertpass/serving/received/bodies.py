"""Bodies of requests, and of failures; those of text-embeddings-inference where it has the route.

What is right for a body of any route is in :mod:`bertpass.serving.received.fields`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, Field

from bertpass.serving.failures import InvalidBody
from bertpass.serving.received.fields import Body, Side, Texts, id_rows, pair_rows


class Failure(BaseModel):
    """The answer of every status but 200."""

    error: str = Field(description="what is wrong and what to do")
    error_type: str = Field(description="the cause in one word, for programs")


class Named(Body):
    model: str | None = Field(
        default=None, description="which of the served models; default: the first that fits the route")


class Cut(Named):
    truncate: bool | None = Field(default=None, description="cut texts that are too long, instead of answering 413")
    truncation_direction: Side | None = Field(
        default=None, description="the end at which they are cut, Left and Right too; default: what the model says")


class Prompted(Cut):
    prompt_name: str | None = Field(
        default=None, description="of a model with prompts: the one that goes before each text")
    prompt: str | None = Field(default=None, description="a prompt in words, in place of a name")


class Vectors(Prompted):
    normalize: bool = Field(
        default=True, description="scale embeddings to length 1; without it they are as they are pooled")
    dimensions: int | None = Field(
        default=None, ge=1, description="so many numbers from the front of each embedding, which are scaled afterwards")


#: forms of an embedding's numbers
Dtype = Literal["float", "int8", "uint8", "binary", "ubinary"]


class Embed(Vectors):
    inputs: Texts
    output_dtype: Dtype = Field(default="float", description="float, or binary (int8) and ubinary (uint8): whether "
                                "numbers are above 0, eight in a byte")


class EmbedAll(Prompted):
    inputs: Texts
    is_query: bool | None = Field(
        default=None, description="of a model of late interaction: whether the texts are queries or documents")


class EmbedSparse(Prompted):
    inputs: Texts


class FillMaskParameters(Body):
    """Of Hugging Face's pipelines."""

    top_k: int = Field(default=5, ge=1, description="so many words per [MASK], the best")
    targets: str | list[str] | None = Field(default=None, description="of these words alone, tokens of the vocabulary")


class FillMask(Cut, FillMaskParameters):
    inputs: Texts


class Scored(Cut):
    raw_scores: bool = Field(default=False, description="logits in place of probabilities")


class LabelParameters(Body):
    """Of Hugging Face's pipelines."""

    top_k: int | None = Field(default=None, ge=1, description="so many labels, the best")
    function_to_apply: Literal["none", "sigmoid", "softmax"] | None = Field(
        default=None, description="what makes scores of logits; default: what the model says")


class Predict(Scored):
    inputs: Annotated[str | list[str] | list[list[str]], BeforeValidator(pair_rows)] = Field(
        description="a text; a list of one or two texts is one text or one pair; a list of such lists is a batch")
    parameters: LabelParameters = LabelParameters()


class Rerank(Scored):
    query: str
    texts: list[str]
    return_text: bool = Field(default=False, description="give the texts too")
    top_n: int | None = Field(default=None, ge=1, description="so many of them, the best")


class Sentences(Body):
    source_sentence: str
    sentences: list[str]


class SimilarityParameters(Body):
    """Where text-embeddings-inference has them; beside ``inputs`` they are taken too."""

    truncate: bool | None = None
    truncation_direction: Side | None = None
    prompt_name: str | None = None


class Similarity(Prompted):
    inputs: Sentences
    parameters: SimilarityParameters = Field(default=SimilarityParameters(), description="as beside inputs")

    def model_post_init(self, _: Any) -> None:
        """What stands in ``parameters`` counts as if it stood beside ``inputs``."""
        take_parameters(self, self.parameters)


def take_parameters(body: Body, parameters: Body) -> None:
    """Put what ``parameters`` have into the body's own fields; InvalidBody where it says something else there."""
    for name in parameters.model_fields_set & type(body).model_fields.keys():
        value = getattr(parameters, name)
        if name in body.model_fields_set and getattr(body, name) != value:
            raise InvalidBody(f"{name} has one value beside inputs and another in parameters; send it once.", name)
        setattr(body, name, value)


class Asked(Body):
    question: str
    context: str


class Pair(Body):
    text: str
    text_pair: str | None = None


class Long(Named):
    truncate: bool | None = Field(
        default=None, description="with first it changes nothing: texts of any length are read whole; with "
        "another aggregation_strategy it cuts texts that are too long")


class Question(Named, Asked):
    max_answer_length: int = Field(default=30, ge=1, description="tokens of the longest answer")
    handle_impossible_answer: bool = Field(default=False, description="the answer may be empty (SQuAD 2.0)")
    align_to_words: bool = Field(default=True, description="an answer begins and ends with whole words, not tokens")
    top_k: Literal[1] = Field(default=1, description="one answer is given")
    truncate: bool | None = Field(
        default=None, description="cut a question that is too long; a context of any length is read whole")


class TagParameters(Body):
    """Of Hugging Face's pipelines."""

    aggregation_strategy: Literal["none", "simple", "first", "average", "max"] = Field(
        default="first", description="first: a word has the tag of its first token; none: tokens with their tags; "
        "simple, average, max: as the pipeline")


class Tag(Long, TagParameters):
    inputs: Texts
    parameters: TagParameters = Field(default=TagParameters(), description="as beside inputs")

    def model_post_init(self, _: Any) -> None:
        """What stands in ``parameters`` counts as if it stood beside ``inputs``."""
        take_parameters(self, self.parameters)


class Tokenize(Named):
    inputs: Texts
    add_special_tokens: bool = True


class Decode(Named):
    ids: Annotated[list[int] | list[list[int]], BeforeValidator(id_rows)] = Field(
        description="ids of one text, or a list of such lists")
    skip_special_tokens: bool = True
