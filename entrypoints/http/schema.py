"""The shape of a chat completion request: OpenAI's schema, with the gateway's own fields beside it.

Only shape is checked here. The body that travels on is the client's own object, never a copy made from these models.
https://github.com/openai/openai-openapi (CreateChatCompletionRequest)
"""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

JsonObject: TypeAlias = dict[str, Any]
#: No model has an output anywhere near; larger bounds are mistakes, or attempts at the balance.
MOST_TOKENS = 100_000_000


class Open(BaseModel):
    """Keeps what it does not know in ``model_extra``, so that a surface can refuse it or let it pass."""

    model_config = ConfigDict(strict=True, extra="allow", frozen=True, protected_namespaces=())


def _kind(value: object) -> str:
    """Which branch of a union a JSON value is for, so that an error speaks of that branch alone."""
    match value:
        case str():
            return "string"
        case list():
            return "array"
        case dict():
            return "object"
        case _:
            return "string"


# --- content ------------------------------------------------------------------------------------------------------


class CacheBreakpoint(Open):
    mode: Literal["explicit"]


class Part(Open):
    prompt_cache_breakpoint: CacheBreakpoint | None = None


class TextPart(Part):
    type: Literal["text"]
    text: str


class ImageUrl(Open):
    url: str
    detail: Literal["auto", "low", "high", "original"] | None = None


class ImagePart(Part):
    type: Literal["image_url"]
    image_url: ImageUrl


class InputAudio(Open):
    data: str
    format: Literal["wav", "mp3"]


class AudioPart(Part):
    type: Literal["input_audio"]
    input_audio: InputAudio


class File(Open):
    filename: str | None = None
    file_data: str | None = None
    file_id: str | None = None


class FilePart(Part):
    type: Literal["file"]
    file: File


class RefusalPart(Part):
    type: Literal["refusal"]
    refusal: str


UserPart: TypeAlias = Annotated[TextPart | ImagePart | AudioPart | FilePart, Field(discriminator="type")]
AssistantPart: TypeAlias = Annotated[TextPart | RefusalPart, Field(discriminator="type")]
TextPartOnly: TypeAlias = Annotated[TextPart, Field()]

TextContent: TypeAlias = Annotated[
    Annotated[str, Tag("string")] | Annotated[list[TextPartOnly], Field(min_length=1), Tag("array")],
    Discriminator(_kind),
]
UserContent: TypeAlias = Annotated[
    Annotated[str, Tag("string")] | Annotated[list[UserPart], Field(min_length=1), Tag("array")],
    Discriminator(_kind),
]
AssistantContent: TypeAlias = Annotated[
    Annotated[str, Tag("string")] | Annotated[list[AssistantPart], Field(min_length=1), Tag("array")],
    Discriminator(_kind),
]


# --- messages -----------------------------------------------------------------------------------------------------


class FunctionCall(Open):
    name: str
    arguments: str


class CustomCall(Open):
    name: str
    input: str


class FunctionToolCall(Open):
    id: str
    type: Literal["function"]
    function: FunctionCall


class CustomToolCall(Open):
    id: str
    type: Literal["custom"]
    custom: CustomCall


class AudioReference(Open):
    id: str


class SystemMessage(Open):
    role: Literal["system", "developer"]
    content: TextContent
    name: str | None = None


class UserMessage(Open):
    role: Literal["user"]
    content: UserContent
    name: str | None = None


class AssistantMessage(Open):
    role: Literal["assistant"]
    content: AssistantContent | None = None
    refusal: str | None = None
    name: str | None = None
    audio: AudioReference | None = None
    tool_calls: list[Annotated[FunctionToolCall | CustomToolCall, Field(discriminator="type")]] | None = None
    function_call: FunctionCall | None = None


class ToolMessage(Open):
    role: Literal["tool"]
    content: TextContent
    tool_call_id: str


class FunctionMessage(Open):
    role: Literal["function"]
    content: str | None
    name: str


Message: TypeAlias = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage | FunctionMessage, Field(discriminator="role")
]


# --- tools --------------------------------------------------------------------------------------------------------

ToolName: TypeAlias = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z0-9_-]+$")]


class FunctionDeclaration(Open):
    name: ToolName
    description: str | None = None
    parameters: JsonObject | None = None
    strict: bool | None = None


class FunctionTool(Open):
    type: Literal["function"]
    function: FunctionDeclaration


class TextFormat(Open):
    type: Literal["text"]


class Grammar(Open):
    definition: str
    syntax: Literal["lark", "regex"]


class GrammarFormat(Open):
    type: Literal["grammar"]
    grammar: Grammar


class CustomDeclaration(Open):
    name: str
    description: str | None = None
    format: Annotated[TextFormat | GrammarFormat, Field(discriminator="type")] | None = None


class CustomTool(Open):
    type: Literal["custom"]
    custom: CustomDeclaration


class Named(Open):
    name: str


class FunctionChoice(Open):
    type: Literal["function"]
    function: Named


class CustomChoice(Open):
    type: Literal["custom"]
    custom: Named


class AllowedTools(Open):
    mode: Literal["auto", "required"]
    tools: list[JsonObject]


class AllowedToolsChoice(Open):
    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


ToolChoice: TypeAlias = Annotated[
    Annotated[Literal["none", "auto", "required"], Tag("string")]
    | Annotated[
        Annotated[FunctionChoice | CustomChoice | AllowedToolsChoice, Field(discriminator="type")], Tag("object")
    ],
    Discriminator(_kind),
]
FunctionCallChoice: TypeAlias = Annotated[
    Annotated[Literal["none", "auto"], Tag("string")] | Annotated[Named, Tag("object")], Discriminator(_kind)
]


# --- parameters ---------------------------------------------------------------------------------------------------


class Voice(Open):
    id: str


class AudioOutput(Open):
    voice: Annotated[Annotated[str, Tag("string")] | Annotated[Voice, Tag("object")], Discriminator(_kind)]
    format: Literal["wav", "aac", "mp3", "flac", "opus", "pcm16"]


class JsonSchemaFormat(Open):
    name: ToolName
    description: str | None = None
    # The wire's field is called schema, which pydantic keeps for itself.
    schema_: JsonObject | None = Field(default=None, alias="schema")
    strict: bool | None = None


class ResponseText(Open):
    type: Literal["text"]


class ResponseJsonObject(Open):
    type: Literal["json_object"]


class ResponseJsonSchema(Open):
    type: Literal["json_schema"]
    json_schema: JsonSchemaFormat


class ModerationSide(Open):
    mode: Literal["score", "block"]


class ModerationPolicy(Open):
    input: ModerationSide | None = None
    output: ModerationSide | None = None


class Moderation(Open):
    model: str
    policy: ModerationPolicy | None = None


class Prediction(Open):
    type: Literal["content"]
    content: TextContent


class CacheOptions(Open):
    mode: Literal["implicit", "explicit"] | None = None
    ttl: Literal["30m"] | None = None


class StreamOptions(Open):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class ApproximateLocation(Open):
    city: str | None = None
    country: str | None = None
    region: str | None = None
    timezone: str | None = None


class UserLocation(Open):
    type: Literal["approximate"]
    approximate: ApproximateLocation


class WebSearchOptions(Open):
    search_context_size: Literal["low", "medium", "high"] | None = None
    user_location: UserLocation | None = None


Penalty: TypeAlias = Annotated[float, Field(ge=-2, le=2)]
StopSequences: TypeAlias = Annotated[
    Annotated[str, Tag("string")] | Annotated[list[str], Field(min_length=1, max_length=4), Tag("array")],
    Discriminator(_kind),
]
Metadata: TypeAlias = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]


class ChatCompletionRequest(Open):
    """OpenAI's ``CreateChatCompletionRequest``. Whether ``model`` is required is the surface's rule."""

    messages: list[Message] = Field(min_length=1)
    model: str | None = Field(default=None, min_length=1, max_length=256)
    audio: AudioOutput | None = None
    frequency_penalty: Penalty | None = None
    function_call: FunctionCallChoice | None = None
    functions: Annotated[list[FunctionDeclaration], Field(min_length=1, max_length=128)] | None = None
    logit_bias: dict[str, Annotated[float, Field(ge=-100, le=100)]] | None = None
    logprobs: bool | None = None
    max_completion_tokens: int | None = Field(default=None, ge=1, le=MOST_TOKENS)
    max_tokens: int | None = Field(default=None, ge=1, le=MOST_TOKENS)
    metadata: Metadata | None = None
    modalities: list[Literal["text", "audio"]] | None = None
    moderation: Moderation | None = None
    n: int | None = Field(default=None, ge=1, le=128)
    parallel_tool_calls: bool | None = None
    prediction: Prediction | None = None
    presence_penalty: Penalty | None = None
    prompt_cache_key: str | None = None
    prompt_cache_options: CacheOptions | None = None
    prompt_cache_retention: Literal["in_memory", "in-memory", "24h"] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"] | None = None
    response_format: (
        Annotated[ResponseText | ResponseJsonObject | ResponseJsonSchema, Field(discriminator="type")] | None
    ) = None
    safety_identifier: str | None = Field(default=None, max_length=64)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    service_tier: Literal["auto", "default", "flex", "scale", "priority", "fast"] | None = None
    stop: StopSequences | None = None
    store: bool | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: float | None = Field(default=None, ge=0, le=2)
    tool_choice: ToolChoice | None = None
    tools: list[Annotated[FunctionTool | CustomTool, Field(discriminator="type")]] | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=20)
    top_p: float | None = Field(default=None, ge=0, le=1)
    user: str | None = None
    verbosity: Literal["low", "medium", "high"] | None = None
    web_search_options: WebSearchOptions | None = None


class GatewayRequest(ChatCompletionRequest):
    """The request of the surfaces that have fields of their own; no provider ever sees those."""

    group_id: str | None = None
    provider: str | None = None
    cache_key: str | None = None
    conversation_id: str | None = None


#: The fields that never travel on.
GATEWAY_FIELDS = frozenset(GatewayRequest.model_fields) - frozenset(ChatCompletionRequest.model_fields)


def unknown_fields(value: object, path: str = "") -> Iterator[str]:
    """The paths of all fields that the schema does not have, e.g. ``messages[0].content[1].colour``."""
    if isinstance(value, Open):
        for name in value.model_extra or ():
            yield f"{path}.{name}" if path else name
        for name in value.model_fields_set:
            # An extra field is in the set, too; its value is of no model.
            yield from unknown_fields(getattr(value, name), f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from unknown_fields(item, f"{path}[{index}]")
