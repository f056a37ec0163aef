#!/usr/bin/env bash
# Builds a target of deploy/Dockerfile with docker, podman or buildah, whichever is there: build.sh TARGET IMAGE
#
# Environment, all optional:
#   CONTAINER_ENGINE  the command to build with, such as `podman` or `buildah --storage-driver vfs`
#   PYTHON_IMAGE, BEAM_IMAGE   base images; where the usual ones cannot be had, they are made here (base.sh)
#   PIP_CONF          a pip configuration for the build: an index of one's own, its certificate. It stays out of the image
#   IMAGE_FLAGS       more flags for the engine, such as `--platform linux/amd64` or `--volume /etc/ssl/certs:/etc/ssl/certs:ro`
set -euo pipefail
target=$1 image=$2
cd "$(dirname "$0")/../.."
here=deploy/image

engine=(${CONTAINER_ENGINE:-$("$here/engine.sh")})
flags=(${IMAGE_FLAGS:-})
if [[ ${engine[0]} != docker ]]; then
    # The build trusts whom this machine trusts, so that it works behind a proxy with a certificate of its own.
    flags+=(--isolation chroot --volume /etc/ssl/certs:/etc/ssl/certs:ro)
fi
if [[ -z ${PIP_CONF:-} ]]; then
    PIP_CONF=$(mktemp)
    trap 'rm -f "$PIP_CONF"' EXIT
    [[ ${engine[0]} == docker ]] || printf '[global]\ncert = /etc/ssl/certs/ca-certificates.crt\n' >"$PIP_CONF"
fi

python_image=${PYTHON_IMAGE:-docker.io/library/python:3.11-slim-bookworm}
beam_image=${BEAM_IMAGE:-docker.io/apache/beam_python3.11_sdk:2.77.0}
has() { "${engine[@]}" image inspect "$1" >/dev/null 2>&1 || "${engine[@]}" inspect --type image "$1" >/dev/null 2>&1; }
have() { has "$1" || "${engine[@]}" pull --quiet "$1" >/dev/null 2>&1; }
if ! { have "$python_image" && have "$beam_image"; }; then
    echo "build.sh: $python_image and $beam_image cannot be had; making both base images here" >&2
    python_image=localhost/beamscribe-base:bookworm beam_image=localhost/beamscribe-boot:2.77.0
    { has "$python_image" && has "$beam_image"; } || "$here/base.sh" "${engine[*]}" "$python_image" "$beam_image"
fi

version=$(sed -n 's/^__version__ = "\(.*\)"/\1/p' beamscribe/__init__.py)
DOCKER_BUILDKIT=1 "${engine[@]}" build "${flags[@]}" --target "$target" --tag "$image" --file deploy/Dockerfile \
    --secret "id=pip,src=$PIP_CONF" --build-arg "PYTHON=$python_image" --build-arg "BEAM=$beam_image" \
    --build-arg "VERSION=$version" --build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)" .
echo "built $image ($target, version $version)"
