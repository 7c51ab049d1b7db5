"""One model: what answers, how it is addressed, and what it needs."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, model_validator

from llm_eval.specs.base import Name, PositiveInt, Spec


def _is_server(url: str) -> str:
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("not an address such as http://localhost:8000/v1")
    if parts.username or parts.password or parts.query:
        raise ValueError("an address must not hold a user, a password or parameters; keys go into `keys`, by name")
    return url.rstrip("/")


def _is_variable(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError("not the name of an environment variable; a key itself must not stand here")
    return name


def connection_variables(connection: str) -> tuple[str, str]:
    """Names of the environment variables that hold an Airflow connection's password and its address.

    A task of Airflow sets them for itself alone; elsewhere (a pod, `llm-eval run`) whoever runs it does.
    """
    name = re.sub(r"[^A-Z0-9]", "_", connection.upper())
    return f"LLM_EVAL_CONNECTION_{name}_KEY", f"LLM_EVAL_CONNECTION_{name}_URL"


ConnectionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=250)]
VariableName = Annotated[str, AfterValidator(_is_variable)]
LabelKey = Annotated[str, Field(pattern=r"^([a-z0-9][-a-z0-9.]*/)?[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$")]
LabelValue = Annotated[str, Field(pattern=r"^([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)?$")]
ServerUrl = Annotated[str, AfterValidator(_is_server)]


class TransformersBackend(Spec):
    """A model that the `transformers` library loads, from a folder or the hub, on this machine."""

    kind: Literal["transformers"]
    path: str
    """A Hugging Face folder (relative: under LLM_EVAL_MODELS) or a hub id."""
    revision: str | None = None
    tokenizer_path: str | None = None
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    device: Annotated[str, Field(pattern=r"^(auto|cpu|cuda(:\d+)?)$")] = "auto"
    """auto (a GPU that no other evaluation here has taken, without one the CPU), cpu, cuda (the first), cuda:1, …"""
    device_map: Literal["auto", "balanced", "balanced_low_0", "sequential"] | None = None
    """For models too big for one device: all GPUs, and this machine's memory for the rest, shared out as named."""
    trust_remote_code: bool = False
    adapter_path: str | None = None
    """A PEFT adapter (such as LoRA) merged into the weights: a folder (relative: under LLM_EVAL_MODELS) or a hub id."""
    attention: Literal["packed", "plain"] = "packed"
    """packed: no padding, shared prefixes read once. plain: the library's own attention over padded batches, slower; a
    model that cannot be packed takes it by itself."""
    batch_tokens: PositiveInt | Literal["auto"] = "auto"
    """Tokens read in one forward pass at most. auto: from the free memory and the model's size."""
    cache_gib: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    """Memory for keys and values, of shared prefixes and of answers being written. auto: an eighth of what is free."""

    @model_validator(mode="after")
    def _one_way_to_choose_a_device(self) -> Self:
        if self.device_map is not None and self.device != "auto":
            raise ValueError("device and device_map are both given; leave one of them out")
        return self


class ReplayBackend(Spec):
    """Answers made elsewhere, read by sample id from a jsonl or Parquet file."""

    kind: Literal["replay"]
    path: str
    """Relative: looked for as a files source is. `{dataset}` stands for the dataset's name."""
    id: str = "id"
    text: str = "text"
    """Column of the answer's text, for kind generate."""
    logprobs: str = "logprobs"
    """Column with one log-likelihood (nats) per choice, for kinds choices and perplexity."""
    tokens: str = "tokens"
    """Column with one token count per choice; needed by metrics that are per token."""


class ScriptedBackend(Spec):
    """Canned answers, for tests and dry runs: reproducible, no weights, faults on demand."""

    kind: Literal["scripted"]
    replies: Annotated[tuple[str, ...], Field(min_length=1)] = ("A", "B", "C", "D")
    """One of these per request, picked by a hash of the request's id and attempt."""
    seconds_per_reply: Annotated[float, Field(ge=0)] = 0.0
    lost_after: PositiveInt | None = None
    """Raise BackendLost after this many replies in one process."""
    failing: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Fraction of requests, picked by hash, that come back with an error."""
    journal: str | None = None
    """File that each asked request id is appended to before it is answered; not part of the identity."""


class Price(Spec):
    """What a server's tokens cost, in USD for a million of them."""

    input_per_million: Annotated[float, Field(ge=0)]
    output_per_million: Annotated[float, Field(ge=0)]
    cached_input_per_million: Annotated[float, Field(ge=0)] | None = None
    """Of prompt tokens that the server says it had read before. Absent: they cost what all others do."""


class Budget(Spec):
    """What all responses of the same fingerprint may take, those of earlier runs and of other shards included.

    Once it is reached nothing more is asked; what is in flight then comes on top.
    """

    max_cost_usd: Annotated[float, Field(gt=0)] | None = None
    max_tokens: PositiveInt | None = None
    """Of prompts and answers together."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.max_cost_usd is None and self.max_tokens is None:
            raise ValueError("a budget has max_cost_usd, max_tokens or both")
        return self


class OpenAIBackend(Spec):
    """A model behind a server that speaks OpenAI's protocol."""

    kind: Literal["openai"]
    model: Annotated[str, Field(min_length=1)]
    """What the server calls it."""
    base_urls: tuple[ServerUrl, ...] = ()
    """Down to the version: `http://localhost:8000/v1`. Several are asked in turn and must serve the same model. Absent:
    the host of `connection` where it has one, else OpenAI itself."""
    keys: tuple[VariableName, ...] = ()
    """Names of environment variables that hold keys; used in turn. Empty for a server that asks for none."""
    connection: ConnectionId | None = None
    """An Airflow connection whose password is one more key, for tasks of Airflow; see `connection_variables`."""
    max_in_flight: PositiveInt = 64
    """Requests of one shard at the same time at most; fewer while the server says that it is asked too much."""
    requests_per_minute: Annotated[float, Field(gt=0)] | None = None
    """Of all shards and runs under one root that ask this server; 9.6 is one in 6.25 s, 30000 are 500 a second."""
    tokens_per_minute: Annotated[float, Field(gt=0)] | None = None
    """The same, of prompts and of answers at their longest; prompts are taken to have four bytes a token."""
    timeout_seconds: Annotated[float, Field(gt=0)] = 600.0
    """For one answer."""
    patience_seconds: Annotated[float, Field(ge=0)] = 600.0
    """How long one sample is asked for again while the server is busy or broken."""
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls it; OpenAI's reasoning models want max_completion_tokens."""
    omit: tuple[Literal["temperature", "top_p", "seed", "stop"], ...] = ()
    """Parameters that the server refuses."""
    extra_body: dict[str, Any] = {}
    """Sent along with every request, such as a server's own parameters. No place for secrets: it is written down."""
    mode: Literal["requests", "batch"] = "requests"
    """batch: hand the requests in as files (`/v1/batches`) and fetch the answers when all are there, within a day and
    often at half the price (say so in `price`). Kind generate only."""
    poll_seconds: Annotated[float, Field(gt=0)] = 60.0
    """How often a batch is looked at."""
    stream: bool = False
    """Have answers sent as they are written, which tells how long the first token takes."""
    attempts_in_one_request: bool = False
    """Ask for all `generation.attempts` of a sample at once (`n`): its prompt is read and paid for once. What `seed`
    means then differs by server, and so may the answers, so this is part of their identity."""
    price: Price | None = None
    """Absent: what answers cost is not known."""
    budget: Budget | None = None

    @model_validator(mode="after")
    def _a_budget_in_usd_needs_prices(self) -> Self:
        if self.budget is not None and self.budget.max_cost_usd is not None and self.price is None:
            raise ValueError("budget.max_cost_usd needs `price`: what tokens cost is not known otherwise")
        return self


Backend = Annotated[TransformersBackend | ReplayBackend | ScriptedBackend | OpenAIBackend, Field(discriminator="kind")]


class RegisteredCheckpoints(Spec):
    """Checkpoints that somebody registers: `llm-eval checkpoint register`, such as the last line of a training job."""

    kind: Literal["registry"]


class CheckpointFolders(Spec):
    """Checkpoints of one training run as folders below one folder; complete ones are registered as they are found."""

    kind: Literal["folders"]
    path: str
    """Relative: under LLM_EVAL_MODELS."""
    pattern: str = "*"
    settled_seconds: Annotated[float, Field(ge=0)] = 30.0
    """A folder that a file was written into less than so long ago may still be incomplete, and waits."""


class HubRevisions(Spec):
    """Checkpoints as branches and tags of the hub repository that `backend.path` names."""

    kind: Literal["hub"]
    pattern: str = "step*"


Checkpoints = Annotated[RegisteredCheckpoints | CheckpointFolders | HubRevisions, Field(discriminator="kind")]


class Toleration(Spec):
    """Lets pods onto nodes with a taint, as Kubernetes means it."""

    key: str | None = None
    """Absent, with operator Exists: every taint."""
    operator: Literal["Exists", "Equal"] = "Equal"
    value: str | None = None
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Absent: all effects."""

    @model_validator(mode="after")
    def _says_what_it_tolerates(self) -> Self:
        if self.operator == "Exists" and self.value is not None:
            raise ValueError("operator Exists takes no value")
        if self.operator == "Equal" and (self.key is None or self.value is None):
            raise ValueError("operator Equal needs key and value")
        return self


class Resources(Spec):
    """What one shard of this model's infer stage needs."""

    gpus: Annotated[int, Field(ge=0)] = 0
    cpus: Annotated[float, Field(gt=0)] | None = None
    memory_gib: Annotated[float, Field(gt=0)] | None = None
    shards: PositiveInt = 1
    """Slices of the requests that are answered side by side."""
    image: str | None = None
    """Container image; needed for run_on: kubernetes."""
    node_selector: dict[LabelKey, LabelValue] = {}
    """Labels of the nodes that its pods may run on, beside those of the site's pod template."""
    tolerations: tuple[Toleration, ...] = ()
    """Beside those of the site's pod template, and the one for nodes with GPUs that a pod with GPUs has anyway."""
    priority_class: Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", max_length=253)] | None = None
    """Kubernetes' priority class of its pods. Absent: that of the site's pod template."""
    max_hours: Annotated[float, Field(ge=0.01)] = 24.0
    """A pod that runs longer is ended; another try goes on where it was."""


class ModelSpec(Spec):
    """One model: what answers, how it is addressed, and what it needs."""

    name: Name
    description: str = ""
    backend: Backend
    chat: bool
    """true: prompts are conversations, rendered by the tokenizer's own chat template. false: prompts are plain text.
    There is no default: many base models ship a template that they were never trained on."""
    context_tokens: PositiveInt | None = None
    """Prompt and answer must fit. Absent: the backend's own limit."""
    checkpoints: Checkpoints | None = None
    """Where its checkpoints come from. Absent: the model is one set of weights, or has none."""
    run_on: Literal["worker", "kubernetes"] = "worker"
    resources: Resources = Resources()

    @model_validator(mode="after")
    def _hub_checkpoints_need_a_repository(self) -> Self:
        if isinstance(self.checkpoints, HubRevisions) and not isinstance(self.backend, TransformersBackend):
            raise ValueError("checkpoints of kind hub are revisions of a transformers backend's repository")
        return self

    @model_validator(mode="after")
    def _kubernetes_needs_an_image(self) -> Self:
        if self.run_on == "kubernetes" and self.resources.image is None:
            raise ValueError("run_on: kubernetes needs resources.image")
        return self
