"""Files by URI: whole writes, retries, prefetch and a local cache."""
