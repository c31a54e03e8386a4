"""Quality rules of a stream, over Arrow tables. Pure: no clock, no store, no log; state is a value that its caller keeps.

Two kinds, and the difference is what a crash leaves of what they know.

**Checks** look at one record alone: `required`, `range`, `allowed`, `clock-skew`, `crossed`. The same record gives the same
answer whoever reads it and whatever came before, so they may decide what files hold: make a dead letter of the record, or
flag its row. Those that do are part of the layout. `checks.py` says what each means, `verdicts.py` applies them.

**Sequence rules** compare a row with the one before it of the same group: `monotonic`, `jump`, `sequence`, `silent`. What was
before is gone after a crash, and a range that is written again must come out the same: they count, and change no file
(docs/decisions/0011). `sequences.py` says what each means, `watch.py` keeps what they remember.
"""
