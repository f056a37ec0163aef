#!/usr/bin/env bash
# Builds and pushes the workers' image, and a flex template for each job: PROJECT=… deploy/dataflow/publish.sh
# It needs gcloud, signed in, and docker or podman.
set -euo pipefail
here=$(dirname "$0")
. "$here/values.sh"
engine=${CONTAINER_ENGINE:-docker}
worker=$REPOSITORY/worker:$TAG-$TARGET

gcloud auth configure-docker "$REGION-docker.pkg.dev" --quiet
CONTAINER_ENGINE=$engine "$here/../image/build.sh" "$TARGET" "$worker"
"$engine" push "$worker"
for job in featurize caption speak; do
    launcher=$REPOSITORY/$job-launcher:$TAG-$TARGET
    "$engine" build --file "$here/Dockerfile" --build-arg "WORKER=$worker" --build-arg "JOB=$job" --tag "$launcher" "$here/../.."
    "$engine" push "$launcher"
    gcloud dataflow flex-template build "gs://$BUCKET/templates/$job-$TARGET.json" --project="$PROJECT" \
        --image="$launcher" --sdk-language=PYTHON --metadata-file="$here/templates/$job.json"
done
