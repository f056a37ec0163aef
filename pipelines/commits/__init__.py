"""Nothing lost: work is cut into shards, what is done is subtracted, and the rest is committed whole or not at all."""
