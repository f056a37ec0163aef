#!/usr/bin/env bash
# Starts the caption template: PROJECT=… deploy/dataflow/caption.sh gs://bucket/photographs gs://bucket/captions
set -euo pipefail
here=$(dirname "$0")
. "$here/values.sh"
images=$1 output=$2

common=(--project="$PROJECT" --region="$REGION" --template-file-gcs-location="gs://$BUCKET/templates/caption-$TARGET.json"
    --service-account-email="$ACCOUNT" --temp-location="gs://$BUCKET/temp" --staging-location="gs://$BUCKET/staging")
parameters="images=$images,output=$output,sdk_container_image=$REPOSITORY/worker:$TAG-$TARGET,sdk_location=container"
if [[ $TARGET == gpu ]]; then
    # One process a machine, so that one model is on the GPU.
    gcloud dataflow flex-template run "caption-$(date +%Y%m%d-%H%M%S)" "${common[@]}" --worker-machine-type=n1-standard-8 \
        --max-workers=10 --parameters="$parameters" --additional-experiments=no_use_multiple_sdk_containers \
        --additional-experiments="worker_accelerator=type:nvidia-tesla-t4;count:1;install-nvidia-driver"
else
    gcloud dataflow flex-template run "caption-$(date +%Y%m%d-%H%M%S)" "${common[@]}" --worker-machine-type=n2-standard-8 \
        --max-workers=40 --parameters="$parameters,number_of_worker_harness_threads=2"
fi
