"""Live chaos: replicas of the real daemon on a real Kafka and real stores, under constant produce, while faults strike.

    python -m tests.live.chaos --minutes 10 [--seed 7] [--faults sigstop,broker] [--json outcome.json]

What the brokers acknowledged is compared with what listing finds: nothing missing, nothing double. The seed decides which
faults strike when and how; it cannot decide what the operating system does meanwhile.
"""
