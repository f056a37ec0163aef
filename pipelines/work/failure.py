"""Makes a failure row of an item and an error."""

import datetime
import re

from beamscribe.pipelines.work.shards import PendingItem
from beamscribe.schemas.failure_row import FailureRow
from beamscribe.storage.location import storable

MESSAGE = 2000
"""Characters of a message at most."""

_QUERY = re.compile(r"(https?://[^\s?#'\"]*)[?#][^\s\"]*")
"""The query of a URL in a message of a storage's client."""


def failure(todo: PendingItem, stage: str, error_type: str, message: str, run_started: datetime.datetime) -> FailureRow:
    """A failure row; one attempt more than before."""
    reference = todo.reference
    # Messages quote what a stranger's file says, of any length and in bytes that rows cannot hold.
    message = storable(message[:MESSAGE])
    if reference.query:
        message = _QUERY.sub(r"\1", message.replace(reference.query, ""))
    return FailureRow(reference.uri, reference.id, stage, error_type, message, todo.attempts + 1, run_started)
