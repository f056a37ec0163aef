#!/usr/bin/env bash
# Makes what jobs on Dataflow need, once a project: PROJECT=… deploy/dataflow/setup.sh
# It needs gcloud, signed in as an owner. What is there already stays as it is. What it makes costs nothing by itself.
set -euo pipefail
here=$(dirname "$0")
. "$here/values.sh"

gcloud services enable dataflow.googleapis.com compute.googleapis.com artifactregistry.googleapis.com \
    monitoring.googleapis.com storage.googleapis.com --project="$PROJECT"

# Soft delete would keep, and charge for, every temporary file of a job for a week.
gcloud storage buckets describe "gs://$BUCKET" --project="$PROJECT" >/dev/null 2>&1 ||
    gcloud storage buckets create "gs://$BUCKET" --project="$PROJECT" --location="$REGION" \
        --uniform-bucket-level-access --public-access-prevention --soft-delete-duration=0
gcloud storage buckets update "gs://$BUCKET" --lifecycle-file="$here/lifecycle.json"

gcloud artifacts repositories describe beamscribe --project="$PROJECT" --location="$REGION" >/dev/null 2>&1 ||
    gcloud artifacts repositories create beamscribe --project="$PROJECT" --location="$REGION" --repository-format=docker

gcloud iam service-accounts describe "$ACCOUNT" --project="$PROJECT" >/dev/null 2>&1 ||
    gcloud iam service-accounts create beamscribe-worker --project="$PROJECT" --display-name="Beamscribe workers"
for role in roles/dataflow.worker roles/dataflow.admin roles/iam.serviceAccountUser; do
    gcloud projects add-iam-policy-binding "$PROJECT" --member="serviceAccount:$ACCOUNT" --role="$role" --condition=None
done
gcloud storage buckets add-iam-policy-binding "gs://$BUCKET" --member="serviceAccount:$ACCOUNT" --role=roles/storage.objectAdmin
gcloud artifacts repositories add-iam-policy-binding beamscribe --project="$PROJECT" --location="$REGION" \
    --member="serviceAccount:$ACCOUNT" --role=roles/artifactregistry.reader

if [[ -n $EMAIL ]]; then
    channel=$(gcloud beta monitoring channels create --project="$PROJECT" --display-name=beamscribe --type=email \
        --channel-labels="email_address=$EMAIL" --format='value(name)')
    gcloud alpha monitoring policies create --project="$PROJECT" --notification-channels="$channel" \
        --policy-from-file="$here/alert.json"
fi
