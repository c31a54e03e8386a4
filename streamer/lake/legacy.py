"""Names that programs from before this library call. Thin: each says what does the work, and new programs call that.

They take and give pandas, as those programs do (`pip install 'streamer[pandas]'`).
"""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa

from streamer.errors import Invalid
from streamer.features.history import FeatureHistory
from streamer.keys import archive_key
from streamer.lake.loop_thread import LoopThread
from streamer.lake.reading import SIGNALS, AsyncReading
from streamer.lake.request import TimeLike, moment
from streamer.lake.rows import to_pandas
from streamer.lake.table_files import as_table
from streamer.models.models import AsyncModels
from streamer.models.pull import Pulled
from streamer.models.registry import LATEST
from streamer.models.version import Version
from streamer.write.partition_value import encode_value


class AsyncLegacy(AsyncReading):
    """The old names, for asyncio programs."""

    async def read_table(self, key: str) -> pa.Table:
        """See `AsyncFiles`."""
        raise NotImplementedError

    async def write_table(self, key: str, rows: Any, *, overwrite: bool = True, force: bool = False) -> str:
        """See `AsyncFiles`."""
        raise NotImplementedError

    async def exists(self, key: str) -> bool:
        """See `AsyncFiles`."""
        raise NotImplementedError

    @property
    def models(self) -> AsyncModels:
        """See `AsyncLake`."""
        raise NotImplementedError

    async def feature_history(self) -> FeatureHistory:
        """See `AsyncLake`."""
        raise NotImplementedError

    async def load_feature_history(self) -> FeatureHistory:
        """The feature history: a mapping of symbol to rows. Now: `lake.feature_history()`."""
        return await self.feature_history()

    async def upload_model(self, path: str | os.PathLike[str], name: str | None = None) -> Version:
        """Keep the file `path` as the next version of a model, and as `latest`. Now: `lake.models.push(path, name)`."""
        return await self.models.push(path, name)

    async def download_model(self, name: str, path: str | os.PathLike[str], version: int | str = LATEST) -> Pulled:
        """Write a version of a model to `path`, its hash checked. Now: `lake.models.pull(name, path, version)`."""
        return await self.models.pull(name, path, version)

    async def load_historical_signals(self, start_date: TimeLike, end_date: TimeLike) -> Any:
        """The signals of the days from `start_date` to `end_date`, both included, as a pandas DataFrame.

        Now: `lake.signals(start, end).to_pandas()`, where `end` is not included. Only here a day that `archive_daily_signals`
        wrote is read from its file.
        """
        first, last = _day(start_date, "start_date"), _day(end_date, "end_date")
        closed = await self._reader.certificates.closed_days(SIGNALS, _midnight(first), _midnight(last + timedelta(days=1)))
        parts: list[pa.Table] = []
        known = any(layout.stream == SIGNALS for layout in await self._reader.layouts.read())
        for number in range((last - first).days + 1):
            day = first + timedelta(days=number)
            key = archive_key("signals", day)
            if day not in closed.days and await self.exists(key):
                parts.append(await self.read_table(key))
            elif known:
                parts.append(await self.signals(day, day + timedelta(days=1)))
        filled = [part for part in parts if part.num_rows]
        chosen = filled or parts[:1]
        return to_pandas(pa.concat_tables(chosen, promote_options="permissive") if chosen else pa.table({}))

    async def archive_daily_signals(self, df: Any, date: TimeLike) -> str:
        """Write the signals of a day to `signals/{date}/regime_signals.parquet`, and return the key.

        Now: the daemon closes days by itself. Raises `Invalid` where it has closed this one.
        """
        day = _day(date, "date")
        closed = await self._reader.certificates.closed_days(SIGNALS, _midnight(day), _midnight(day + timedelta(days=1)))
        return await self._write(archive_key("signals", day), df, day in closed.days)

    async def upload_ohlcv_data(self, df: Any, symbol: str, date: TimeLike) -> str:
        """Write bars of a day to `ohlcv/{SYMBOL}/{date}.parquet`, and return the key.

        Now: the daemon makes bars when it closes a day; `lake.bars(...)` reads those. Raises `Invalid` where it has closed this
        one.
        """
        day = _day(date, "date")
        closed = await self._reader.certificates.closed_days("ticks", _midnight(day), _midnight(day + timedelta(days=1)))
        return await self._write(archive_key("bars", day, encode_value(symbol, at_segment_start=True)), df, day in closed.days)

    async def _write(self, key: str, rows: Any, is_closed: bool) -> str:
        if is_closed:
            raise Invalid("the daemon has closed this day: its file is certified", hint="write under another key", key=key)
        await self.write_table(key, rows)
        return key


class Legacy:
    """The old names."""

    _inner: AsyncLegacy
    _loop: LoopThread

    def load_feature_history(self) -> FeatureHistory:
        """The feature history: a mapping of symbol to rows. Now: `lake.feature_history()`."""
        return self._loop.run(self._inner.load_feature_history())

    def upload_model(self, path: str | os.PathLike[str], name: str | None = None) -> Version:
        """Keep the file `path` as the next version of a model, and as `latest`. Now: `lake.models.push(path, name)`."""
        return self._loop.run(self._inner.upload_model(path, name))

    def download_model(self, name: str, path: str | os.PathLike[str], version: int | str = LATEST) -> Pulled:
        """Write a version of a model to `path`, its hash checked. Now: `lake.models.pull(name, path, version)`."""
        return self._loop.run(self._inner.download_model(name, path, version))

    def load_historical_signals(self, start_date: TimeLike, end_date: TimeLike) -> Any:
        """The signals of the days from `start_date` to `end_date`, both included, as a pandas DataFrame.

        Now: `lake.signals(start, end).to_pandas()`, where `end` is not included. Only here a day that `archive_daily_signals`
        wrote is read from its file.
        """
        return self._loop.run(self._inner.load_historical_signals(start_date, end_date))

    def archive_daily_signals(self, df: Any, date: TimeLike) -> str:
        """Write the signals of a day to `signals/{date}/regime_signals.parquet`, and return the key.

        Now: the daemon closes days by itself. Raises `Invalid` where it has closed this one.
        """
        return self._loop.run(self._inner.archive_daily_signals(as_table(df), date))

    def upload_ohlcv_data(self, df: Any, symbol: str, date: TimeLike) -> str:
        """Write bars of a day to `ohlcv/{SYMBOL}/{date}.parquet`, and return the key.

        Now: the daemon makes bars when it closes a day; `lake.bars(...)` reads those. Raises `Invalid` where it has closed this
        one.
        """
        return self._loop.run(self._inner.upload_ohlcv_data(as_table(df), symbol, date))


def _day(value: TimeLike, name: str) -> date:
    at = moment(value, name)
    if at is None:
        raise Invalid(f"{name} is missing", hint="write it as 2026-01-03")
    return at.date()


def _midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
