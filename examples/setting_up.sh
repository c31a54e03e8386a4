#!/bin/sh
# From nothing to a lake that is ready: what it will cost, what is missing, the making of it, and the rights that each role needs.
#
#   sh examples/setting_up.sh s3://microstream-data policies
#
# Credentials and region as any AWS program finds them; they need the rights that `streamer policy setup` prints. Asks nothing
# and may be run again: what is there is left alone.
set -eu
lake=$1
policies=$2

echo "== what 2,000 ticks a second of 50 symbols in 6 partitions would come to"
streamer plan --lake "$lake" --rate ticks=2000 --symbols ticks=50 --partitions ticks=6

echo "== what is missing"
streamer init --lake "$lake" --dry-run

echo "== made"
streamer init --lake "$lake" --yes

echo "== the least that each role needs"
mkdir -p "$policies"
for role in daemon reader trainer writer; do
  streamer policy "$role" --lake "$lake" > "$policies/$role.json"
  echo "$policies/$role.json"
done
