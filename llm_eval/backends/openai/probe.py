"""Whether a server says how likely a text is: asked when a run is planned, as many ignore what they cannot do."""

from __future__ import annotations

from llm_eval.backends.openai.answers import BrokenAnswer, IgnoredOption
from llm_eval.backends.openai.bodies import echo
from llm_eval.backends.openai.endpoints import Endpoint, endpoints
from llm_eval.backends.openai.faults import MAY_PASS, Fault, fault_of
from llm_eval.backends.openai.likelihoods import read_echo
from llm_eval.backends.openai.sending import send
from llm_eval.errors import BackendLost, InputError, UnsupportedRequest
from llm_eval.specs import ModelSpec, OpenAIBackend

SECONDS = 30.0  # planning must stay quick, also where the server is slow
TEXT = "Paris is the capital of France."
GENERATE = "Choose a variant of the dataset whose prompt is of kind generate (llm-eval list datasets)."


def check_likelihoods(model: ModelSpec, spec: OpenAIBackend) -> None:
    """Ask every address for the log-likelihood of one sentence.

    Raises UnsupportedRequest where it does not come, BackendLost where the server does not answer, InputError for a key
    that is not there or not right.
    """
    if model.chat:
        raise UnsupportedRequest(
            f"model {model.name!r}: chat completions say nothing of how likely a given answer is. {GENERATE} Or set "
            "chat: false, if the prompts of a text model do."
        )
    import asyncio

    asyncio.run(_check(spec.model_copy(update={"timeout_seconds": min(SECONDS, spec.timeout_seconds)}), model.name))


async def _check(spec: OpenAIBackend, name: str) -> None:
    owner = f"model {name!r}"
    found = endpoints(spec, owner)
    try:
        for endpoint in {endpoint.url: endpoint for endpoint in found}.values():  # once each, with one key
            await _check_one(spec, endpoint, owner)
    finally:
        for endpoint in found:
            await endpoint.client.close()


async def _check_one(spec: OpenAIBackend, endpoint: Endpoint, owner: str) -> None:
    try:
        read_echo((await send(endpoint.client, echo(spec, TEXT), spec.timeout_seconds)).body, TEXT)
        return
    except Exception as error:  # noqa: BLE001 - fault_of raises again what is none of the server's
        fault = endpoint.hidden(fault_of(error))
        is_answer = isinstance(error, IgnoredOption | BrokenAnswer)
    if is_answer or fault.words.startswith(("400", "404", "405", "422", "501")):
        raise UnsupportedRequest(
            f"{owner}: {endpoint} does not say how likely a given text is ({fault.words}): /completions with `echo` "
            f"and `logprobs`, as vLLM answers it, is needed{endpoint.advice(fault) or '.'} {GENERATE}"
        )
    raise _not_asked(fault, f"{owner}: {endpoint} was to say whether it gives log-probabilities of a prompt", endpoint)


def _not_asked(fault: Fault, began: str, endpoint: Endpoint) -> Exception:
    if fault.kind in MAY_PASS:
        return BackendLost(f"{began}, but did not answer: {fault.words}")
    return InputError(f"{began}, but refuses to be asked ({fault.words}){endpoint.advice(fault)}")
