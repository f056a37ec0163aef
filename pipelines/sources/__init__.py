"""What a job is about: references from folders, globs, manifests, archives or features, and the bytes they name."""
