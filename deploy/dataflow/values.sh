# What the scripts beside this file need to know. Set these before, or edit them here.
: "${PROJECT:?the id of a Google Cloud project with billing}"
: "${REGION:=europe-west4}"
: "${BUCKET:=$PROJECT-beamscribe}"
: "${EMAIL:=}" # who is told of failed jobs; nobody if empty
: "${TARGET:=cpu}" # of deploy/Dockerfile: cpu or gpu
: "${TAG:=0.2.0}"
REPOSITORY=$REGION-docker.pkg.dev/$PROJECT/beamscribe
ACCOUNT=beamscribe-worker@$PROJECT.iam.gserviceaccount.com
