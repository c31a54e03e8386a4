"""Trades as real exchanges wrote them: strings for prices, four kinds of time, ids of 26 digits.

The lines have the shapes (field types, units, exponents) of captures from the exchanges that they name.
"""

from __future__ import annotations

from decimal import Decimal

import pyarrow as pa
import pytest
from decoding import check_invariants, chunk_of, feature, rows_of, same, signal, slowly

from streamer.decode.decoder import make_decoder
from streamer.layout import Layout
from streamer.schemas import columns_of

TRADES: list[bytes | None] = [
    b'{"exchange":"COINBASE","symbol":"BAND-GBP","price":"14.7775","quantity":"0.04",'
    b'"timestamp":"2021-04-17T16:43:30.244075Z","side":"sell","trade_id":881613,"recv_ts":1618677817.079762}',
    b'{"exchange":"BINANCE","symbol":"BTCUSDT","price":"61800.30","quantity":"0.006",'
    b'"timestamp":1723161256322,"trade_id":5266583935,"recv_ts":1723161255}',
    b'{"exchange":"KRAKEN","symbol":"XMR/USD","price":"354.11000000","volume":"0.89594024",'
    b'"timestamp":"1618678142.557535","side":"s","recv_ts":1618678142.592855}',
    b'{"exchange":"BITFINEX","symbol":"tBFTUSD","price":0.076989,"quantity":166.391496,'
    b'"timestamp":1618665870435,"trade_id":669899159,"recv_ts":1618677543.960532}',
    b'{"exchange":"BYBIT","symbol":"BCHUSDT","price":"1053.90","quantity":0.14,'
    b'"timestamp":"1618677785116","side":"Buy","trade_id":"01cacfe9-8d1c-5ee4","recv_ts":1618677786.799668}',
    b'{"exchange":"GATEIO","symbol":"DIS_USDT","price":"121.5800000000","quantity":"0.2010000000",'
    b'"timestamp":"1619093543708.2642","side":"sell","trade_id":816995772,"recv_ts":1619093543.755753}',
    b'{"exchange":"HUOBI","symbol":"trioeth","price":9.2E-7,"quantity":20995.88,'
    b'"timestamp":1618678027940,"side":"buy","trade_id":100182534526255757567432481,"recv_ts":1618678070.9097369}',
    b'{"exchange":"SIM","symbol":"EUR/USD","price":1.14605,"timestamp":1546383600078000128,"recv_ts":1546383600.0780001}',
    b'{"exchange":"FTX","symbol":"BTC-PERP","price":46319.0,"quantity":1e-06,'
    b'"timestamp":"2021-12-31 23:01:00.000000","recv_ts":0}',
    (
        '{"exchange":"UPBIT","symbol":"KRW-비트코인","price":127.0,"volume":46.48838371,"timestamp":1618678262000,"recv_ts":1}'
    ).encode(),
]

TICKS = Layout(
    "ticks",
    "tick",
    columns_of("tick", {"recv_ts": "timestamp[ns, UTC]"}, types={"timestamp": "timestamp[ns, UTC]"}),
    "date={date}",
)


def test_trades_of_ten_exchanges_in_one_chunk_come_out_exact() -> None:
    decoded = make_decoder(TICKS).decode(chunk_of(TRADES))

    table = decoded.table
    assert not decoded.dead_letters
    assert table["price"].to_pylist() == [14.7775, 61800.3, 354.11, 0.076989, 1053.9, 121.58, 9.2e-7, 1.14605, 46319.0, 127.0]
    assert table["trade_id"].to_pylist()[6] == "100182534526255757567432481"
    assert table["symbol"].to_pylist()[9] == "KRW-비트코인"
    assert table["timestamp"].cast(pa.int64()).to_pylist() == [
        1618677810244075000,
        1723161256322000000,
        1618678142557535000,
        1618665870435000000,
        1618677785116000000,
        1619093543708264200,
        1618678027940000000,
        1546383600078000128,
        1640991660000000000,
        1618678262000000000,
    ]
    assert table["extra"].null_count == len(TRADES)


@pytest.mark.parametrize("at", range(len(TRADES)))
def test_a_topic_of_any_one_exchange_is_decoded_in_columns(at: int) -> None:
    chunk = chunk_of([TRADES[at]] * 300)

    decoded = make_decoder(TICKS).decode(chunk)

    check_invariants(TICKS, chunk, decoded)
    assert same(decoded, slowly(TICKS, chunk))
    assert decoded.slow_records == 0


def test_exchanges_taking_turns_in_one_topic_make_the_same_rows_as_alone() -> None:
    decoded = make_decoder(TICKS).decode(chunk_of(TRADES * 60))

    alone = slowly(TICKS, chunk_of(TRADES)).table
    columns = [column.name for column in TICKS.columns]
    assert rows_of(decoded.table.select(columns)) == rows_of(alone.select(columns)) * 60


def test_prices_as_decimals_keep_every_digit() -> None:
    layout = Layout("ticks", "tick", columns_of("tick", types={"price": "decimal128(38,18)"}), "date={date}", unknown="drop")

    decoded = make_decoder(layout).decode(chunk_of(TRADES))

    assert decoded.table["price"].to_pylist()[6] == Decimal("0.000000920000000000")
    assert decoded.dropped_fields == len(TRADES)


def test_an_exchanges_ticker_object_gives_its_numbers_as_features() -> None:
    value = (
        b'{"exchange":"DERIBIT","symbol":"ETH-30JUL21-2800-C","timestamp":1626993723632,"features":{"underlying_price":2003.61,'
        b'"underlying_index":"ETH-30JUL21","stats":{"volume":869.0,"low":null},"state":"open","mark_iv":120.74,"bid_iv":null}}'
    )

    (found,) = make_decoder(feature()).decode(chunk_of([value])).table.to_pylist()

    assert found["features"] == [("mark_iv", 120.74), ("underlying_price", 2003.61)]
    assert found["extra"] == (
        '{"exchange":"DERIBIT","features":{"underlying_index":"ETH-30JUL21","stats":{"volume":869.0,"low":null},"state":"open"}}'
    )


def test_a_signal_with_a_time_as_float_and_fields_of_its_own_is_kept_whole() -> None:
    value = b'{"strategy":"V3","symbol":"TRX/BTC","timestamp":1515568500000.0,"regime":2,"stress":9.64e-05,"orders":null}'

    (found,) = make_decoder(signal()).decode(chunk_of([value])).table.to_pylist()

    assert (found["timestamp"].timestamp(), found["regime"], found["stress"]) == (1515568500.0, 2, 9.64e-05)
    assert found["extra"] == '{"strategy":"V3","orders":null}'
