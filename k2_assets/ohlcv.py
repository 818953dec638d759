"""Candle assets: 1m from gold trades, each coarser timeframe from the next finer one."""

from datetime import date

import dagster as dg
from dagster_duckdb import DuckDBResource

from k2_assets.ranges import Results, each_day
from k2_assets.resources import LakeResource, engine_for
from k2_assets.tables import Result, is_tick, table_asset, told
from k2_lake.candles import build_candles
from k2_lake.results import StepResult
from k2_lake.tables import TRADES_TABLE, candle_name
from k2_market.timeframes import TIMEFRAMES, Timeframe


def candle_asset(frame: Timeframe) -> dg.AssetsDefinition:
    """The asset ``gold/ohlcv_<timeframe>``: a tick computes touched windows, else the whole day.

    The metadata names the windows whose candle changed.
    """
    source = TRADES_TABLE if frame.source is None else candle_name(frame.source)

    @table_asset(candle_name(frame.name), deps=[source], in_ranges=True)
    def candles(
        context: dg.AssetExecutionContext, lake: LakeResource, duckdb: DuckDBResource
    ) -> Results:
        opened = lake.open()
        engine = engine_for(opened, duckdb)

        def of_day(day: date) -> Result:
            whole = not is_tick(context)
            result = build_candles(opened, engine, frame.name, day, recompute=whole)
            return told(opened, result, day, {"changed_windows": _named(result)})

        yield from each_day(context, of_day)

    return candles


def _named(result: StepResult) -> dg.TableMetadataValue:
    """The windows whose candle changed; of very many the first, while ``changed`` counts all."""
    records = [
        dg.TableRecord(
            {"exchange": exchange, "symbol": symbol, "window_start": f"{start:%Y-%m-%d %H:%M}"}
        )
        for exchange, symbol, start in result.windows
    ]
    columns = [dg.TableColumn(name) for name in ("exchange", "symbol", "window_start")]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns))


ASSETS = [candle_asset(frame) for frame in TIMEFRAMES.values()]
