"""The Hub's own client, with an end to its patience and with errors that a person can read.

Tokens are handed to the client and to nothing else: its exceptions, which carry the request and its headers, end here.
"""

from __future__ import annotations

import contextlib
import re
import sys
import threading
import time
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any

from gan.errors import CheckpointError, HubError
from gan.settings import hub_patience

if TYPE_CHECKING:
    from huggingface_hub import HfApi


REFUSALS = {
    401: "error.hub.token",
    402: "error.hub.payment",
    403: "error.hub.forbidden",
    404: "error.hub.missing",
    409: "error.hub.taken_now",
    412: "error.hub.moved_now",
}


class Waiting(threading.local):
    """Since when this thread has had no useful answer, and the last status that came instead."""

    since: float | None = None
    status: int = 0


waiting = Waiting()


@cache
def prepare_client() -> None:
    """Give the client an end to its patience: by itself it waits for ever for an answer, and retries for minutes."""
    from huggingface_hub import set_client_factory
    from huggingface_hub.utils import disable_progress_bars, logging
    from huggingface_hub.utils._http import default_client_factory

    def before(request: Any) -> None:
        limits = request.extensions.get("timeout", {})
        request.extensions["timeout"] = {
            name: limits.get(name) or hub_patience() for name in ("connect", "read", "write", "pool")
        }
        now = time.monotonic()
        if waiting.since is None:
            waiting.since = now
        elif now - waiting.since > hub_patience():
            raise trouble(waiting.status)

    def after(response: Any) -> None:
        waiting.status = response.status_code
        if response.status_code != 429 and response.status_code < 500:
            waiting.since = None
        elif response.headers.get("retry-after", "").isdigit():
            seconds = int(response.headers["retry-after"])
            if seconds > hub_patience():
                raise trouble(response.status_code)

    def factory() -> Any:
        client = default_client_factory()
        hooks = client.event_hooks
        client.event_hooks = {"request": [*hooks["request"], before], "response": [*hooks["response"], after]}
        return client

    set_client_factory(factory)
    # Every failure ends in one sentence of ours; the client's own account of each attempt is for debugging.
    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        disable_progress_bars()


def trouble(status: int) -> HubError:
    """The error for a Hub that has no useful answer."""
    if status == 429:
        return HubError("error.hub.busy")
    return HubError("error.hub.down", status=status) if status >= 500 else HubError("error.hub.unreachable")


@contextlib.contextmanager
def talking(
    repository: str, token: str | None = None, write: bool = False, refusals: dict[int, str] = REFUSALS
) -> Iterator[HfApi]:
    """The Hub's client; whatever goes wrong with it becomes a HubError without a trace of the token.

    Args:
        refusals: the sentence for each status that says no.

    Raises:
        HubError: also before anything is asked, where ``write`` and there is no token.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError

    prepare_client()
    token = token or get_token()
    if write and not token:
        raise HubError("error.hub.no_token")
    # The client would quote it in its complaint.
    if token and not re.fullmatch(r"[!-~]+", token):
        raise HubError("error.hub.token")
    waiting.since = None
    failure: HubError | None = None
    try:
        yield HfApi(token=token or False)
    except (HubError, CheckpointError):
        raise
    except GatedRepoError:
        failure = HubError("error.hub.gated", repository=repository)
    except RepositoryNotFoundError:
        failure = HubError("error.hub.missing", repository=repository)
    except HfHubHTTPError as error:
        failure = refusal(error, repository, token, refusals)
    except Exception as error:
        failure = broken(error, repository, token)
    finally:
        waiting.since = None
    if failure:
        # The client's exceptions carry the request with its headers: no traceback may lead to them.
        raise failure from None


def refusal(error: Any, repository: str, token: str | None, refusals: dict[int, str] = REFUSALS) -> HubError:
    """The error for an answer of the Hub that says no."""
    status = error.response.status_code
    if status == 429 or status >= 500:
        return trouble(status)
    said = error.server_message or f"HTTP {status}"
    if status in refusals:
        return HubError(refusals[status], repository=repository)
    return HubError("error.hub.refused", detail=clean(said, token))


def broken(error: BaseException, repository: str, token: str | None) -> HubError:
    """The error for anything else: no answer, half an answer, or this machine's own disk.

    Raises:
        BaseException: ``error`` itself where it is none of these.
    """
    from huggingface_hub.errors import HfHubHTTPError, HTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled

    if isinstance(error, (LocalEntryNotFoundError, RuntimeError)) and error.__cause__ is not None:
        # The client found nothing in its cache either, or names the file; what happened before that is what matters.
        if isinstance(error.__cause__, HubError):
            return error.__cause__
        return broken(error.__cause__, repository, token)
    if isinstance(error, HfHubHTTPError):
        return refusal(error, repository, token)
    kind = type(error).__name__
    if isinstance(error, HTTPError) and kind not in ("RemoteProtocolError", "ReadError", "DecodingError"):
        return HubError("error.hub.unreachable")
    if isinstance(error, (OfflineModeIsEnabled, LocalEntryNotFoundError)):
        return HubError("error.hub.unreachable")
    if isinstance(error, ValueError) and "metadata in README.md" in str(error):
        return HubError("error.hub.card", detail=clean(str(error), token))
    if isinstance(error, OSError) and error.errno:
        return HubError("error.hub.disk", detail=error.strerror)
    if isinstance(error, (HTTPError, OSError, ValueError, KeyError, TypeError, RuntimeError)):
        return HubError("error.hub.half", detail=kind)
    raise error


def unanswered(error: Exception) -> bool:
    """Whether a request went out and no answer came: what it asked for may have happened."""
    from huggingface_hub.errors import HfHubHTTPError, HTTPError

    return isinstance(error, HTTPError) and not isinstance(error, HfHubHTTPError)


def clean(text: str, token: str | None) -> str:
    """``text`` of the Hub's in one short line, the token blotted out should it be in there."""
    return " ".join((text.replace(token, "…") if token else text).split())[:200].rstrip(".")
