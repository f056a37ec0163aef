#!/usr/bin/env bash
# Makes both base images of deploy/Dockerfile without a registry of images: Debian with Python 3.11 by debootstrap, and
# Beam's boot program by Go. Needs root, debootstrap and Go.
#
#   base.sh ENGINE PYTHON_IMAGE BOOT_IMAGE      ENGINE: a command such as `docker` or `buildah --storage-driver vfs`
set -euo pipefail
read -ra engine <<<"$1"
python_image=$2 boot_image=$3
BEAM_VERSION=2.77.0
MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
isolation=()
[[ ${engine[0]} == docker ]] || isolation=(--isolation chroot)

GOBIN=$folder/boot go install "github.com/apache/beam/sdks/v2/python/container@v$BEAM_VERSION"
printf 'FROM scratch\nCOPY container /opt/apache/beam/boot\n' >"$folder/boot.Dockerfile"
"${engine[@]}" build "${isolation[@]}" --quiet --tag "$boot_image" --file "$folder/boot.Dockerfile" "$folder/boot"

debootstrap --variant=minbase --include=ca-certificates,python3,python3-venv bookworm "$folder/root" "$MIRROR" >"$folder/log" 2>&1 ||
    { tail -5 "$folder/log" >&2; exit 1; }
rm -rf "$folder"/root/var/cache/apt/* "$folder"/root/var/lib/apt/lists/*
printf 'FROM scratch\nCOPY . /\nENV LANG=C.UTF-8\n' >"$folder/python.Dockerfile"
"${engine[@]}" build "${isolation[@]}" --quiet --tag "$python_image" --file "$folder/python.Dockerfile" "$folder/root"
