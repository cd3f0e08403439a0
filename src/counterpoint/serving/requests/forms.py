"""The forms of requests and of answers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, WithJsonSchema

_REQUEST = ConfigDict(extra="forbid", use_attribute_docstrings=True, str_max_length=20_000_000)
_ANSWER = ConfigDict(use_attribute_docstrings=True)

Side = Literal["first", "against"]
_IMAGE = {
    "type": "object",
    "properties": {"image": {"type": "string", "description": "data:image/png;base64,…"}},
    "required": ["image"],
    "additionalProperties": False,
}
_TEXT = {"type": "string", "minLength": 1}
_INPUT = {
    "anyOf": [_TEXT, _IMAGE, {"type": "array", "items": {"anyOf": [_TEXT, _IMAGE]}, "minItems": 1}],
}


class EmbeddingsRequest(BaseModel):
    """A request for embeddings, in OpenAI's form."""

    model_config = _REQUEST
    input: Annotated[Any, WithJsonSchema(_INPUT)]
    """A text, a picture as {"image": "data:image/png;base64,…"}, or a list of them."""
    model: str = "default"
    """One of /v1/models."""
    encoding_format: Literal["float", "base64"] = "float"
    """Lists of numbers, or the base64 of little-endian float32."""
    dimensions: int | None = None
    """Refused unless it is the model's."""
    user: str | None = None
    """Ignored."""


class QueryOptions(BaseModel):
    """Options of a search, beside what is searched for."""

    model_config = _REQUEST
    k: Annotated[int, Field(ge=1)] | None = None
    """Number of results; ten unless given, or as many as there can be."""
    where: str | None = None
    """A condition in SQL over the columns of the rows, applied before the search."""
    modality: str | None = None
    """Results of this modality; pictures, where there are pictures and texts, unless given; "all" for every one."""
    index: Side = "first"
    """Index to search, where two are served."""


class SearchRequest(QueryOptions):
    """A search for what is like a text, a picture or an item: one of the three."""

    query: str | None = None
    """A text."""
    image: str | None = None
    """A picture, as data:image/png;base64,…"""
    id: int | None = None
    """An item: more like this. Its vector of the modality that is asked for is taken, if it has one."""


class ZeroShotLabels(BaseModel):
    """Labels for zero-shot classification."""

    model_config = _REQUEST
    labels: Annotated[list[str], Field(min_length=1)]
    """Names of the classes."""
    template: str = "a photo of {}"
    """Sentence with {} for the name."""
    index: Side = "first"
    """Index whose model is asked, where two are served."""


class ZeroShotRequest(ZeroShotLabels):
    """A picture to classify: its own bytes, or an item's."""

    image: str | None = None
    """A picture, as data:image/png;base64,…"""
    id: int | None = None
    """An item with a picture."""


class InputEmbedding(BaseModel):
    """The embedding of one input."""

    object: Literal["embedding"]
    index: int
    embedding: list[float] | str


class Usage(BaseModel):
    """Tokens that the model read: start and end included, what is too long cut; none for pictures."""

    prompt_tokens: int
    total_tokens: int


class EmbeddingsAnswer(BaseModel):
    """Embeddings of unit norm, in the order of the inputs."""

    object: Literal["list"]
    data: list[InputEmbedding]
    model: str
    usage: Usage


class Model(BaseModel):
    """A model that embeds."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str


class ModelsAnswer(BaseModel):
    """The models that embed here."""

    object: Literal["list"]
    data: list[Model]


class Row(BaseModel):
    """A row of an index."""

    id: int
    key: str | None
    modality: str
    split: str | None
    text: str | None
    labels: dict[str, str | float | None]


class SearchHit(Row):
    """A row that was found."""

    score: float
    picture: str | None
    """Address of a picture: its own, a spectrogram, a drawing, an animated clip."""
    sound: str | None
    """Address of its sound."""


class SearchAnswer(BaseModel):
    """Rows that were found, the best first."""

    results: list[SearchHit]
    seconds: float


class ScoredLabel(BaseModel):
    """A label, and how well the picture goes with it."""

    label: str
    score: float


class ZeroShotAnswer(BaseModel):
    """Labels with their scores, the best first: the similarity of picture and sentence, the cosine for most models."""

    labels: list[ScoredLabel]
    seconds: float


class Item(Row):
    """An item, with all its modalities."""

    modalities: list[str]
    picture: str | None
    """Address of a picture, as that of a result."""
    sound: str | None
    """Address of its sound."""


class MapAnswer(BaseModel):
    """The points of the map, as columns; a modality is the place of its name in ``modalities``."""

    modalities: list[str]
    id: list[int]
    modality: list[int]
    x: list[float]
    y: list[float]


class ServedIndex(BaseModel):
    """An index that is served, and its model."""

    index: Side
    name: str
    model: str
    fingerprint: str
    kind: str
    rows: int
    embeds: list[str]
    takes: list[str]
    """Modalities of what it embeds: a query is a text or a picture."""
    width: int
    picture_size: int | None
    context: int | None
    shares_space: bool


class RequestLimits(BaseModel):
    """Limits of a request."""

    body: int
    pixels: int
    formats: list[str]
    inputs: int
    characters: int
    results: int


class RowKind(BaseModel):
    """Kind of the rows of a column."""

    modality: str
    one: str
    """One row in words: "sound"."""
    many: str
    """Several rows in words: "sounds"."""


class AboutAnswer(BaseModel):
    """All that is served here."""

    version: str
    indexes: list[ServedIndex]
    data: str
    attribution: str
    modalities: dict[str, int]
    """Rows of each modality."""
    kinds: dict[str, RowKind]
    """Kind of the rows of each modality."""
    columns: list[str]
    """Columns that a condition may name."""
    examples: list[int]
    """Some items, from all over the index."""
    pictures: bool
    """Items have pictures, or drawings of what they are, to show."""
    map: bool
    against: bool
    limits: RequestLimits


class ServerStatus(BaseModel):
    """The state of the server."""

    status: str
