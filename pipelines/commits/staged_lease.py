"""Whether a run still holds its output, asked before every commit, and the lease of a job that has no launcher.

A template of a job is staged once and launched by others. Nobody holds its lease in between, so its first worker takes
it, and every worker that commits or beats renews it.
"""

import uuid

from beamscribe.pipelines.commits.lease import (
    FILE,
    HEARTBEAT_SECONDS,
    STAGED,
    clear_dead,
    confirm_held,
    lease_content,
    read_holder,
)
from beamscribe.storage.storage import Storage

STAGED_TOKEN = "staged-"
"""How the tokens of such jobs begin."""


def staged_token() -> str:
    """The token of a job that its launcher only stages: it holds no lease until its first worker takes it."""
    return f"{STAGED_TOKEN}{uuid.uuid4().hex}"


def confirm_lease(output: Storage) -> None:
    """Looks whether the run that an output's `Storage` writes for still holds it.

    The workers of a staged job take and renew its lease by that, since no launcher does.

    Raises:
        LeaseLostError: if another run does, or none.
        OSError: if the storage does not say.
    """
    if output.run.startswith(STAGED_TOKEN):
        _keep_staged(output)
    elif output.run:
        confirm_held(output, output.run)


def keep_staged(output: Storage) -> None:
    """Takes or renews the lease of a staged job; nothing for a run that has a launcher.

    Raises:
        LeaseLostError: if another run holds the output.
        OSError: if the storage does not say.
    """
    if output.run.startswith(STAGED_TOKEN):
        _keep_staged(output)


def give_back(output: Storage) -> None:
    """Deletes the lease of a staged job that is over."""
    holder = read_holder(output)
    if holder and holder.token == output.run:
        output.delete(FILE)


def _keep_staged(output: Storage) -> None:
    content = lease_content(output.run, STAGED, 0)
    holder = read_holder(output)
    if holder and holder.token != output.run and holder.dead():
        clear_dead(output, holder, output.run)
        holder = None
    if holder is None and output.create(FILE, content):
        return
    holder = holder or read_holder(output)
    if holder is None or holder.token != output.run:
        confirm_held(output, output.run)
    elif holder.age_seconds() > HEARTBEAT_SECONDS:
        # Many workers do so; one that comes late writes the same.
        output.write(FILE, content)
