"""Models on the Hugging Face hub: one commit of a repository, asked for without loading anything."""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import NamedTuple

from llm_eval.backends.places import Place
from llm_eval.errors import MissingWeights

logger = logging.getLogger(__name__)

HUB_SECONDS = 10.0


_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


class Commit(NamedTuple):
    """created_at: ISO 8601."""

    sha: str
    created_at: str


def is_id(text: str) -> bool:
    """Whether it has the form organisation/name."""
    return _ID.fullmatch(text) is not None


def revisions(name: str, preamble: str) -> dict[str, str]:
    """Branches and tags of a repository: names and commits. Raises MissingWeights that `preamble` begins."""
    from huggingface_hub import HfApi

    try:
        refs = HfApi().list_repo_refs(name)
    except Exception as error:
        raise _unreachable(name, preamble, error) from error
    return {ref.name: ref.target_commit for ref in (*refs.branches, *refs.tags)}


def commit_made(name: str, revision: str, preamble: str) -> Commit:
    """The commit that `revision` stands for, and when it was made. Raises MissingWeights that `preamble` begins."""
    from huggingface_hub import HfApi

    try:
        newest, *_ = HfApi().list_repo_commits(name, revision=revision)
    except Exception as error:
        raise _unreachable(f"{name}@{revision}", preamble, error) from error
    return Commit(newest.commit_id, newest.created_at.isoformat())


def _unreachable(what: str, preamble: str, error: Exception) -> MissingWeights:
    return MissingWeights(
        f"{preamble} the hub does not tell of {what!r} ({type(error).__name__}). Is the name right, HF_TOKEN set for a "
        "private repository, and the hub reachable from here?"
    )


def commit_of(name: str, revision: str, preamble: str) -> Place:
    """The commit that `revision` stands for now; without a network, the one that the local cache knows it as.

    `preamble` begins the message of the MissingWeights that this raises where there is neither.
    """
    from huggingface_hub import HfApi
    from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError, RevisionNotFoundError

    try:
        info = HfApi().model_info(name, revision=revision, timeout=HUB_SECONDS)
    except GatedRepoError as error:
        raise MissingWeights(
            f"{preamble} the hub's repository {name!r} is gated. Accept its licence there and set HF_TOKEN in the "
            "worker's environment."
        ) from error
    except RepositoryNotFoundError as error:
        raise MissingWeights(
            f"{preamble} the hub has no repository {name!r} that HF_TOKEN may see. Check the path, or set "
            "LLM_EVAL_MODELS to the folder that holds it."
        ) from error
    except RevisionNotFoundError as error:
        raise MissingWeights(
            f"{preamble} the hub's repository {name!r} has no revision {revision!r}. Check backend.revision."
        ) from error
    except Exception as error:  # no route, no name service, offline mode, a server error: all mean the same here
        cached = _in_cache(name, revision)
        if cached is None:
            raise MissingWeights(
                f"{preamble} the hub cannot be reached ({type(error).__name__}); its local cache has no revision "
                f"{revision!r} of it. Run `hf download {name} --revision {revision}` where there is a network, "
                "or set LLM_EVAL_MODELS to the folder that holds it."
            ) from error
        return cached
    files = frozenset(file.rfilename for file in info.siblings or () if "/" not in file.rfilename)
    return Place(name, info.sha, None, files)


def _in_cache(name: str, revision: str) -> Place | None:
    from huggingface_hub import try_to_load_from_cache

    for sign in ("config.json", "adapter_config.json"):
        found = try_to_load_from_cache(name, sign, revision=revision)
        if isinstance(found, str):
            return Place.at(Path(found).parent, address=name, commit=Path(found).parent.name)
    return None


def fetched(place: Place, file: str) -> Path | None:
    """The local path of one of a place's files, fetched from the hub first where it must be; None if it went away."""
    if place.folder is not None:
        return place.folder / file
    from huggingface_hub import hf_hub_download

    try:
        return Path(hf_hub_download(place.address, file, revision=place.commit, etag_timeout=HUB_SECONDS))
    except Exception as error:  # noqa: BLE001 - as above; what cannot be fetched now may be there when it is opened
        logger.info("%s: %s cannot be fetched now (%s)", place, file, type(error).__name__)
        return None
