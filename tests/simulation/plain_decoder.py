import json
import pyarrow as pa
from streamer.decode.contract import Decoded
from streamer.records import DeadLetter, DeadLetterReason, record_crcs


class PlainDecoder:
    def __init__(self, layout):
        self.layout = layout

    def decode(self, chunk):
        rows, letters = [], []
        crcs = record_crcs(chunk.keys, chunk.values)
        for i, offset in enumerate(chunk.offsets):
            try:
                m = json.loads(chunk.values[i])
                rows.append(
                    {
                        "symbol": m["symbol"],
                        "price": m["price"],
                        "timestamp": m["timestamp"] * 1000,
                        "_partition": chunk.source.partition,
                        "_offset": offset,
                        "_timestamp": chunk.timestamps[i],
                        "_key": chunk.keys[i],
                        "_crc": crcs[i],
                    }
                )
            except ValueError as e:
                letters.append(
                    DeadLetter(
                        offset,
                        chunk.timestamps[i],
                        chunk.keys[i],
                        chunk.values[i],
                        (),
                        DeadLetterReason.INVALID_JSON,
                        str(e)[:200],
                    )
                )
        return Decoded(pa.Table.from_pylist(rows, schema=self.layout.decoded_schema), tuple(letters))


make_decoder = PlainDecoder
