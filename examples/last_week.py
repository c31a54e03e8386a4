# %% [markdown]
# Last week's regimes and a candle plot. Run as a script, or cell by cell in a notebook:
#
#     pip install 'streamer[plot]'
#     python examples/last_week.py ./lake BTCUSDT candles.png

# %%
from __future__ import annotations

import sys
from datetime import timedelta

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from streamer import Lake
from streamer.errors import Invalid

url, symbol, picture = [*sys.argv[1:], "./lake", "BTCUSDT", "candles.png"][:3] if len(sys.argv) < 4 else sys.argv[1:4]
lake = Lake.open(url)

# %% The newest tick decides which week is the last one.
newest = lake.latest("ticks", symbol)
if newest is None:
    raise SystemExit(f"there is no tick of {symbol} in {lake.url}")
end = newest["timestamp"] + timedelta(minutes=1)
start = end - timedelta(days=7)

# %% How often each regime was seen.
try:
    print(lake.signals(start, end).to_pandas()["regime_name"].value_counts())
except Invalid as nothing:
    print(nothing)

# %% Candles: closed days from the archive, today from raw.
bars = lake.bars(symbol, "1h", start, end).to_pandas()
figure, axes = plt.subplots(figsize=(12, 5))
colours = ["tab:green" if up else "tab:red" for up in bars["close"] >= bars["open"]]
axes.vlines(bars["timestamp"], bars["low"], bars["high"], color=colours, linewidth=1)
axes.bar(bars["timestamp"], bars["close"] - bars["open"], bottom=bars["open"], width=0.03, color=colours)
axes.set_title(f"{symbol}, {len(bars)} hours")
figure.savefig(picture, dpi=120)
print(f"{picture}: {len(bars)} candles")
lake.close()
