"""What a job is asked to do: work items, shards, metrics."""
