#!/bin/sh
# Keys of S3 in AWS Secrets Manager: stored, tried, and replaced while daemons and readers run, none of which need a restart.
#
#   export STREAMER__S3__CREDENTIALS=secretsmanager:cryptotrading/s3-storage S3_BUCKET=microstream-data
#   sh examples/rotating_secrets.sh first.json second.json
#
# The files hold what `aws iam create-access-key | jq .AccessKey` prints. The credentials in the environment are those that
# Secrets Manager is asked with.
set -eu

streamer secrets put s3 --stdin < "$1"
streamer secrets test s3

# New keys are tried first, and stored only if they work. Revoke the old ones afterwards.
streamer secrets rotate s3 --stdin < "$2"
streamer secrets test s3
