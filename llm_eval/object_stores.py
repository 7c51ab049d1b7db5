"""What object stores need that disks do not: one client for a process, exclusive creation, their errors in words.

Nothing here imports a store's own package before a root lies on one.
"""

from __future__ import annotations

import logging
import os
import uuid
from functools import cache
from typing import TYPE_CHECKING

from llm_eval.errors import StorageError, UnusableRoot

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

S3 = ("s3://", "s3a://")
TRIES = 2  # of s3fs, for answers that break off; each of them is botocore's AWS_MAX_ATTEMPTS, by default 5
CONFLICTS = 5  # of writers that create one object at the same moment, one after the other

_MISTAKES = {
    "NoSuchBucket": "There is no such bucket: make it, or mend the root",
    "InvalidBucketName": "That is no bucket's name: mend the root",
    "InvalidAccessKeyId": "The store does not know this access key: mend AWS_ACCESS_KEY_ID or the AWS profile",
    "SignatureDoesNotMatch": "The secret is not that of the access key: mend AWS_SECRET_ACCESS_KEY or the AWS profile",
    "ExpiredToken": "The session's token has run out: get a new one",
    "RequestTimeTooSkewed": "This machine's clock is wrong: set it",
    "AccessDenied": "The keys have to be allowed to list the bucket, and to get, put and delete its objects",
    "403": "The keys have to be allowed to list the bucket, and to get, put and delete its objects",
    "AuthorizationHeaderMalformed": "The region is another one: set AWS_DEFAULT_REGION",
    "IllegalLocationConstraintException": "The region is another one: set AWS_DEFAULT_REGION",
    "PermanentRedirect": "The region is another one: set AWS_DEFAULT_REGION",
    "ProfileNotFound": "Mend AWS_PROFILE",
    "PartialCredentialsError": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, both",
    "InvalidRegionError": "Mend AWS_DEFAULT_REGION",
    "ParamValidationError": "Mend the root",
}
"""By error code, or by the name of the error's class: what no retry can mend."""
# A machine's own role answers late at times.
_NO_KEYS = "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give the machine a role"


def s3() -> AbstractFileSystem:
    """S3 as its environment variables and files name it, the same for all threads of this process."""
    return _s3_of(os.getpid())


@cache
def _s3_of(process: int) -> AbstractFileSystem:
    """A client's thread and sockets do not outlive a fork, so a child has its own.

    The parent's stays referenced in the child: taking it apart there waits a second for a thread that is not there.
    """
    import fsspec

    # Listings: another process's file is there at once. A single stream: no question about the size comes before each
    # file, and no file is put together from pieces of two versions.
    fs: AbstractFileSystem = fsspec.filesystem("s3", use_listings_cache=False, max_concurrency=1)
    fs.retries = TRIES
    for name in ("botocore", "aiobotocore"):  # they tell in each process where they have found keys and server
        logging.getLogger(name).setLevel(logging.WARNING)
    return fs


def has(fs: AbstractFileSystem, path: str) -> bool:
    """Whether there is such a file, which is never empty here: by its first byte.

    One request, where `fs.exists` goes on to ask whether it is a folder. And an answer to GET has a body, which tells a
    bucket that is not there from a file that is not there.
    """
    try:
        fs.cat_file(path, start=0, end=1)
    except FileNotFoundError as error:
        if code(error) == "NoSuchBucket":
            raise
        return False
    return True


def create(uri: str, fs: AbstractFileSystem, path: str, data: bytes) -> None:
    """Put an object where there is none. Raises FileExistsError where there is one, and nothing has changed."""
    if not uri.startswith(S3):
        fs.pipe_file(path, data, mode="create")
        return
    writer = {"writer": uuid.uuid4().hex}
    _create(fs, path, data, writer)
    bucket = path.partition("/")[0]
    if bucket not in _KEEPS_CONDITIONS:
        _check_condition(uri, fs, path, data, writer)
        _KEEPS_CONDITIONS.add(bucket)


_KEEPS_CONDITIONS: set[str] = set()


def _create(fs: AbstractFileSystem, path: str, data: bytes, writer: dict[str, str]) -> None:
    for tries_left in reversed(range(CONFLICTS)):
        try:
            _put_new(fs, path, data, writer)
        except FileExistsError:
            # Ours, if the answer to a try got lost and the client tried again.
            if fs.metadata(path).get("writer") != writer["writer"]:
                raise
        except OSError as error:
            if code(error) != "ConditionalRequestConflict" or not tries_left:
                raise
            continue
        return


def _put_new(fs: AbstractFileSystem, path: str, data: bytes, writer: dict[str, str]) -> None:
    try:
        fs.pipe_file(path, data, mode="create", Metadata=writer)
    except OSError as error:
        # s3fs knows only AWS' own answer, which names the condition.
        if code(error) in ("PreconditionFailed", "412"):
            raise FileExistsError(path) from error
        raise


def _check_condition(uri: str, fs: AbstractFileSystem, path: str, data: bytes, writer: dict[str, str]) -> None:
    """Raises UnusableRoot if the store knows no conditions: two writers would both be told that they are the first."""
    try:
        _put_new(fs, path, data, writer)
    except FileExistsError:
        return
    raise UnusableRoot(
        f"cannot create {uri} for certain: the store overwrites in spite of 'If-None-Match: *', so two writers would "
        "both be the first. Use a store, or a version of this one, that keeps to it (docs/object-stores.md)."
    )


def code(error: BaseException) -> str:
    """The store's own word for an error, or the name of its class."""
    for each in (error, error.__cause__):
        if (response := getattr(each, "response", None)) is not None:
            return str(response.get("Error", {}).get("Code", ""))
    return type(error).__name__


def in_words(action: str, uri: str, error: Exception) -> StorageError:
    """What to raise for an error of a store: what no retry can mend is told apart."""
    said = str(getattr(error, "strerror", None) or error).strip().rstrip(".")
    told = f"{said} ({code(error)})" if said not in ("", "None") else code(error)  # Ceph has a code and no message
    reason = f"cannot {action} {uri}: {told}."
    named = "--root or LLM_EVAL_ROOT names the root" + (", AWS_ENDPOINT_URL the server" if uri.startswith(S3) else "")
    if (mend := _MISTAKES.get(code(error))) is not None:
        return UnusableRoot(f"{reason} {mend}. {named}.")
    if code(error) == "NoCredentialsError":
        return StorageError(f"{reason} {_NO_KEYS}.")
    return StorageError(f"{reason} What is there stays; run again when the store can be reached ({named}).")
