"""What quality rules cost a record, beside decoding it.

    python bench/quality.py [--rows 100_000] [--symbols 200] [--repeat 15]

CPU time of one thread, the least of several runs. `clean`: no record breaks a rule; `dirty`: one in a hundred breaks each.
"""

from __future__ import annotations

import argparse
import random

import pyarrow as pa

from bench.cpu import least
from streamer.decode.contract import Decoded
from streamer.decode.decoder import make_decoder
from streamer.judged import JudgingDecoder
from streamer.layout import Action, Check, Layout
from streamer.quality.verdicts import Checks
from streamer.quality.watch import Watch
from streamer.quality_rules import QualityRules, Sequence
from streamer.records import RecordChunk, TopicPartition
from streamer.schemas import columns_of

CHECKS = {
    "range": ("range", ("price",), 0.01, 1e6, ()),
    "allowed": ("allowed", ("side",), None, None, ("buy", "sell")),
    "required": ("required", ("quantity", "exchange"), None, None, ()),
    "clock-skew": ("clock-skew", ("timestamp", "_timestamp"), None, 300.0, ()),
    "crossed": ("crossed", ("bid", "ask"), None, None, ()),
}
SEQUENCES = (
    Sequence("ordered", "monotonic", "timestamp"),
    Sequence("jump", "jump", "price", limit=10.0),
    Sequence("ids", "sequence", "trade_id"),
    Sequence("alive", "silent", "_timestamp", limit=60.0),
)
START_MS = 1_767_398_400_000


def checks(action: Action, *names: str) -> tuple[Check, ...]:
    chosen = ((name, CHECKS[name]) for name in names or CHECKS)
    return tuple(
        Check(name.replace("-", "_"), kind, action, columns, least, most, values)  # type: ignore[arg-type]
        for name, (kind, columns, least, most, values) in chosen
    )


def ticks(rows: int, symbols: int, dirty: float) -> RecordChunk:
    chance, ids = random.Random(1), [0] * symbols
    values: list[bytes | None] = []
    for n in range(rows):
        symbol, bad = chance.randrange(symbols), chance.random() < dirty
        ids[symbol] += 3 if bad else 1
        price = 200.0 if bad else 100 + chance.gauss(0, 0.5)
        values.append(
            b'{"symbol":"SYM%04d","price":%.2f,"quantity":%.4f,"side":"%s","exchange":"X","trade_id":"%d","bid":%.2f,"ask":%.2f,'
            b'"timestamp":%d}'
            % (
                symbol,
                -price if bad else price,
                chance.random(),
                b"?" if bad else b"buy",
                ids[symbol],
                price + (2 if bad else -1),
                price + 1,
                START_MS + n - (400_000 if bad else 0),
            )
        )
    times = [START_MS + n for n in range(rows)]
    return RecordChunk(TopicPartition("ticks", 0), 0, rows, list(range(rows)), times, [None] * rows, values)


class Done:
    """A decoder that has done its work already."""

    def __init__(self, decoded: Decoded) -> None:
        self._decoded = decoded

    def decode(self, _: RecordChunk) -> Decoded:
        return self._decoded


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rows", type=int, default=100_000)
    arguments.add_argument("--symbols", type=int, default=200)
    arguments.add_argument("--repeat", type=int, default=15)
    options = arguments.parse_args()
    pa.set_cpu_count(1)
    columns = columns_of("tick", {"bid": "float64", "ask": "float64"})
    for word, dirty in (("clean", 0.0), ("dirty", 0.01)):
        chunk = ticks(options.rows, options.symbols, dirty)

        plain = make_decoder(Layout("ticks", "tick", columns, ""))
        decoding = least(lambda plain=plain, chunk=chunk: plain.decode(chunk), options.repeat)  # type: ignore[misc]
        table = plain.decode(chunk).table
        print(f"{word}: decoding alone {decoding / options.rows * 1e9:,.0f} ns a record")
        for name, action in (("five checks that flag", "flag"), ("five checks that make dead letters", "dead-letter")):
            layout = Layout("ticks", "tick", columns, "", checks=checks(action))  # type: ignore[arg-type]
            decoder = JudgingDecoder(Done(make_decoder(layout).decode(chunk)), Checks(layout))
            took = least(lambda decoder=decoder, chunk=chunk: decoder.decode(chunk), options.repeat)  # type: ignore[misc]
            print(f"  {name:<36}+ {took / options.rows * 1e9:6.1f} ns")
        for name, rules in (
            ("five checks that count", QualityRules(checks("count"))),
            *((f"{rule.kind}", QualityRules((), (rule,))) for rule in SEQUENCES),
            ("all four about order", QualityRules((), SEQUENCES)),
            ("all nine, counting", QualityRules(checks("count"), SEQUENCES)),
        ):
            watch = Watch(rules)
            watch.adopt(watch.look([table]))
            took = least(lambda watch=watch, table=table: watch.look([table]), options.repeat)  # type: ignore[misc]
            print(f"  {name:<36}+ {took / options.rows * 1e9:6.1f} ns")


if __name__ == "__main__":
    main()
