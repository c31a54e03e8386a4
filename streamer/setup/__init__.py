"""What is made, asked and reckoned before the daemon runs: bucket, topics, permissions, costs. The daemon imports none."""
