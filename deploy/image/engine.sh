#!/usr/bin/env bash
# Prints the command that builds images on this machine: docker if its daemon answers, else podman, else buildah.
set -euo pipefail
if docker info >/dev/null 2>&1; then
    echo docker
elif podman info >/dev/null 2>&1; then
    echo podman
elif command -v buildah >/dev/null; then
    # vfs needs nothing of the kernel, so it works inside a container as well; CONTAINER_ENGINE=buildah is faster elsewhere.
    echo "buildah --storage-driver vfs"
else
    echo "engine.sh: no docker daemon, podman or buildah answers: install one (apt-get install buildah)" >&2
    exit 1
fi
