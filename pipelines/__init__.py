"""The Beam jobs: corpus → cut into shards → drop what is done → process one shard → commit it → summary."""
