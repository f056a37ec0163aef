"""`--dry_run`: whether a job can be made for its runner; nothing is listed, asked of the network, or written."""

import datetime

import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from beamscribe.errors import DONE, RefusedError
from beamscribe.pipelines.commits.pending import CommitShards, Job, ReadPending
from beamscribe.pipelines.runtime.runners import DATAFLOW, processes_a_machine
from beamscribe.pipelines.runtime.running import NOT_SEEN, build
from beamscribe.pipelines.work.run import Run
from beamscribe.storage.storage import Storage


def dry_run(job: Job, output: str, options: PipelineOptions) -> int:
    """Makes a job's graph, for Dataflow its whole description too, and tells that it can be made.

    Args:
        job: as far as it is known without asking anybody.
        output: as the flag gives it.
        options: Beam's.

    Returns:
        The exit code.

    Raises:
        RefusedError: if it cannot be made.
    """
    runner = options.view_as(StandardOptions).runner
    if runner == DATAFLOW and ("://" not in output or output.startswith("file:")):
        raise RefusedError(NOT_SEEN.format(output))
    # Nothing is asked of this storage: its client is made when something is.
    storage = Storage(output)
    run = Run(
        storage, job.format, "dry-run", datetime.datetime.now(datetime.UTC), processes=processes_a_machine(options)
    )
    try:
        pipeline = beam.Pipeline(options=options)
        build(pipeline, ["dry-run"], ReadPending(storage), CommitShards(job, run))
        if runner == DATAFLOW:
            pipeline.run()
        else:
            pipeline.to_runner_api()
    except (ValueError, TypeError) as error:
        raise RefusedError(f"the job cannot be made for {runner}: {' '.join(str(error).split())}") from error
    print(
        f"beamscribe {job.name}: dry run: the job can be made for {runner}; nothing was listed, asked of the network, "
        "written or started"
    )
    return DONE
