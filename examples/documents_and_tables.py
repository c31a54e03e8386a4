"""Documents under keys that templates make, and a database table that comes back with its types.

python examples/documents_and_tables.py [s3://bucket | ./lake]
"""

from __future__ import annotations

import sqlite3
import sys

from streamer import Lake


def main(lake_url: str) -> None:
    with Lake.open(lake_url, create="://" not in lake_url) as lake:
        documents = lake.documents
        book = {"bids": [[43_120.5, 0.4], [43_120.0, 1.1]], "asks": [[43_121.0, 0.2]]}
        info = documents.put(
            "orderbook", book, at="2024-01-15T10:05:00", packing="zstd", tags={"venue": "binance"}, symbol="BTC/USDT"
        )
        print(info.key)
        print(documents.latest("orderbook", symbol="BTC/USDT").data["asks"])
        for found in documents.list("orderbook", "2024-01-15", "2024-01-16"):
            print(found.at, found.fields, f"version {found.version}")

        documents.declare("alert", "alerts/{desk}/{Y}/{m}/{d}/{timestamp}.json")
        print(documents.put("alert", {"text": "spread"}, desk="../fx").key)

        database = sqlite3.connect(":memory:")
        database.execute("CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, seal BLOB)")
        database.execute("INSERT INTO users VALUES (7, 'Ada', x'00ff')")
        documents.backup_table(database, "users")
        database.execute("DROP TABLE users")
        database.commit()
        print(documents.restore_table("users", database))
        print(database.execute("SELECT * FROM users").fetchall())
        database.close()


if __name__ == "__main__":
    main(sys.argv[1] if len(sys.argv) > 1 else "./example-lake")
