#!/usr/bin/env bash
# Runs a command in an image on this machine's network, as the image's user: run.sh IMAGE COMMAND…
#
# RUN_FLAGS: more flags for the engine, such as `--volume /data:/data`. Where only buildah is there, it runs in a chroot.
set -euo pipefail
image=$1
shift
engine=(${CONTAINER_ENGINE:-$("$(dirname "$0")/engine.sh")})
flags=(${RUN_FLAGS:-})
if [[ ${engine[0]} == buildah ]]; then
    container=$("${engine[@]}" from "$image")
    trap '"${engine[@]}" rm "$container" >/dev/null' EXIT
    "${engine[@]}" run --isolation chroot "${flags[@]}" "$container" -- "$@"
else
    exec "${engine[@]}" run --rm --network host "${flags[@]}" --entrypoint "$1" "$image" "${@:2}"
fi
