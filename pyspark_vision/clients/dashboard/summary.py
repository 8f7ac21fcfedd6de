"""Counts of all rows in a few small tables of DuckDB, so that an answer does not read the rows.

Each table of rows is looked at once, when it is added; ten million rows are some ten thousand
counts. Latencies are kept by steps of 2 %, scores by hundredths.
"""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from pyspark_vision.clients.dashboard.columns import Layout
from pyspark_vision.clients.dashboard.local_time import FIRST_US, LAST_US, offset_us_sql
from pyspark_vision.messages.topics import NOTHING_DETECTED

# Of PyctureStream's dashboard: its line has a point for each quarter of an hour.
QUARTER_US = 15 * 60 * 1_000_000
MINUTE_US = 60 * 1_000_000
SCORE_BINS = 100
# ln(1.02): two neighbours differ by 2 %, so a percentile is right to 1 %.
LATENCY_STEP = 0.0198026
# Below a millisecond all is one; what came before it was sent (clocks differ) is counted apart.
BEFORE_SENT = -1
EXAMPLES = 4

NO_CAMERA, NO_LABEL = "(no camera)", "(no label)"

_MEMORY_LIMIT = "1GB"
# The tables are merged when they have grown by this much since; a merge takes about 0.1 s.
_GROWN_ROWS = 200_000

_TABLES = {
    "events": ("camera VARCHAR, label VARCHAR, quarter BIGINT", "camera, label, quarter"),
    "minutes": ("camera VARCHAR, label VARCHAR, minute INTEGER", "camera, label, minute"),
    "scores": ("camera VARCHAR, label VARCHAR, bin INTEGER", "camera, label, bin"),
    "frames": ("camera VARCHAR, failed BOOLEAN, timeless BOOLEAN", "camera, failed, timeless"),
    "failures": ("camera VARCHAR, code VARCHAR", "camera, code"),
    "latencies": ("camera VARCHAR, definition VARCHAR, bin INTEGER", "camera, definition, bin"),
}

# Among so many of the newest rows the examples are looked for first.
_NEWEST_ROWS = 20_000
_EXAMPLES_OF = f"""
SELECT failed, label, camera, example.us, example.origin, example.file FROM (
  SELECT failed, label, camera, unnest(newest) AS example FROM (
    SELECT failed, label, camera,
      max_by({{{{us: us, origin: origin, file: file}}}}, coalesce(us, 0), {EXAMPLES}) AS newest
    FROM (
      SELECT FALSE AS failed, camera, us, origin, file,
        unnest(list_distinct(list_transform(item_list, lambda one: one.label))) AS label
      FROM {{rows}} WHERE origin IS NOT NULL
      UNION ALL
      SELECT TRUE, camera, us, origin, file, code
      FROM {{rows}} WHERE code IS NOT NULL AND origin IS NOT NULL
    )
    GROUP BY ALL
  )
)
"""


class SummaryClosedError(RuntimeError):
    """Another summary has taken this one's place."""


class Summary:
    """Counts of the rows that were added; ``zone``: of the local time that they are counted by.

    One thread adds; others read at the same time and see whole additions.
    """

    def __init__(self, zone: str) -> None:
        self.zone = zone
        self.rows = 0
        self._spilled = tempfile.TemporaryDirectory(prefix="pyspark-vision-dashboard-")
        self._database = duckdb.connect(
            config={
                "memory_limit": _MEMORY_LIMIT,
                "temp_directory": str(Path(self._spilled.name)),
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "preserve_insertion_order": False,
            }
        )
        self._replacing = threading.Condition()
        self._readers = 0
        self._is_closed = False
        self._merged_rows = 0
        for name, (columns, _) in _TABLES.items():
            self._database.execute(f"CREATE TABLE {name} ({columns}, n BIGINT)")
        self._database.execute(
            "CREATE TABLE examples (failed BOOLEAN, label VARCHAR, camera VARCHAR, us BIGINT, "
            "origin VARCHAR, file VARCHAR)"
        )

    @contextmanager
    def reading(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """A cursor that sees one state for as long as the block lasts.

        Raises :class:`SummaryClosedError` after :meth:`close`.
        """
        with self._replacing:
            if self._is_closed:
                raise SummaryClosedError
            self._readers += 1
            cursor = self._database.cursor()
        try:
            cursor.execute("BEGIN TRANSACTION READ ONLY")
            yield cursor
        finally:
            cursor.close()
            with self._replacing:
                self._readers -= 1
                self._replacing.notify_all()

    @contextmanager
    def adding(self) -> Iterator[None]:
        """What is added within the block is there after it, or nothing of it."""
        before = self.rows
        self._database.execute("BEGIN TRANSACTION")
        try:
            yield
        except BaseException:
            self._database.execute("ROLLBACK")
            self.rows = before
            raise
        self._database.execute("COMMIT")

    def add(self, table: pa.Table, layout: Layout, file: str = "") -> None:
        """Count the rows of a table; within :meth:`adding`.

        The table's column ``file``, if it has one, or ``file`` is where examples are found again.
        """
        database = self._database
        database.register("given", table)
        own_file = "file" if "file" in table.schema.names else "$file"
        latencies = "".join(f", latency_{n}" for n in range(len(layout.latencies)))
        instant = layout.given_us
        try:
            low, high = self._limits(layout)
            offset = offset_us_sql(self.zone, "given_us", low, high)
            if layout.is_local != "FALSE":
                instant_offset = offset_us_sql(self.zone, f"({layout.given_us})", low, high)
                instant = (
                    f"({layout.given_us}) - CASE WHEN {layout.is_local} "
                    f"THEN {instant_offset} ELSE 0 END"
                )
            rows = layout.sql.replace("{instant_us}", f"({instant})")
            named = {"file": file} if own_file == "$file" else {}
            database.execute(
                f"""
                CREATE OR REPLACE TEMP TABLE rows AS
                SELECT coalesce(camera, '{NO_CAMERA}') AS camera, code, origin, file{latencies},
                  CASE WHEN given_us BETWEEN {FIRST_US} AND {LAST_US} THEN
                    given_us + CASE WHEN is_local THEN 0 ELSE {offset} END END AS us,
                  CASE WHEN code IS NULL THEN item_list END AS item_list
                FROM (SELECT {rows}, {own_file} AS file FROM given)
                """,
                named or None,
            )
        finally:
            database.unregister("given")
        self._count_items(is_events=layout.is_events)
        if not layout.is_events:
            self._count_frames(layout)
        self._keep_examples()
        database.execute("DROP TABLE rows")
        self.rows += table.num_rows

    def settle(self) -> None:
        """Merge what was added; between additions, once for each look at the source."""
        with self._alone():
            self._database.execute(
                f"""
                CREATE OR REPLACE TABLE examples AS SELECT * FROM examples
                QUALIFY row_number() OVER
                  (PARTITION BY failed, label, camera ORDER BY us DESC NULLS LAST) <= {EXAMPLES}
                """
            )
            if self._stored_rows() < 2 * self._merged_rows + _GROWN_ROWS:
                return
            for name, (_, keys) in _TABLES.items():
                self._database.execute(
                    f"CREATE OR REPLACE TABLE {name} AS "
                    f"SELECT {keys}, CAST(sum(n) AS BIGINT) AS n FROM {name} GROUP BY ALL"
                )
            self._merged_rows = self._stored_rows()

    def close(self) -> None:
        """Free the memory, once nobody reads any more."""
        with self._alone():
            self._is_closed = True
            self._database.close()
        with suppress(OSError):
            self._spilled.cleanup()

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody reads meanwhile: tables are replaced."""
        with self._replacing:
            self._replacing.wait_for(lambda: not self._readers)
            yield

    def _limits(self, layout: Layout) -> tuple[int, int]:
        low, high = self._one(
            f"SELECT min(us), max(us) FROM (SELECT {layout.given_us} us FROM given)"
        )
        return (low or 0, high or 0)

    def _stored_rows(self) -> int:
        counts = " + ".join(f"(SELECT count(*) FROM {name})" for name in _TABLES)
        return int(self._one(f"SELECT {counts}")[0])

    def _one(self, sql: str) -> Any:
        return self._database.execute(sql).fetchone()

    def _count_items(self, *, is_events: bool) -> None:
        """One event for each object; of a frame without one, that."""
        nothing = (
            ""
            if is_events
            else (
                f"""
            UNION ALL SELECT camera, us, '{NOTHING_DETECTED}', NULL FROM rows
            WHERE code IS NULL AND len(item_list) = 0"""
            )
        )
        self._database.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE counted AS
            SELECT camera, label, quarter, minute, bin, count(*) AS n,
              grouping(quarter) AS g_quarter, grouping(minute) AS g_minute
            FROM (
              SELECT camera, coalesce(label, '{NO_LABEL}') AS label,
                us // {QUARTER_US} AS quarter,
                CAST(us // {MINUTE_US} % 60 AS INTEGER) AS minute,
                CASE WHEN score IS NOT NULL THEN
                  CAST(least(floor(score * {SCORE_BINS}), {SCORE_BINS - 1}) AS INTEGER) END AS bin
              FROM (
                SELECT camera, us, item.label AS label,
                  CASE WHEN item.score BETWEEN 0 AND 1 THEN item.score END AS score
                FROM (SELECT camera, us, unnest(item_list) AS item FROM rows){nothing}
              )
            )
            GROUP BY GROUPING SETS
              ((camera, label, quarter), (camera, label, minute), (camera, label, bin))
            """
        )
        for table, column, chosen in (
            ("events", "quarter", "g_quarter = 0"),
            ("minutes", "minute", "g_minute = 0 AND minute IS NOT NULL"),
            ("scores", "bin", "g_quarter = 1 AND g_minute = 1 AND bin IS NOT NULL"),
        ):
            self._database.execute(
                f"INSERT INTO {table} SELECT camera, label, {column}, n FROM counted WHERE {chosen}"
            )
        self._database.execute(
            f"""
            CREATE OR REPLACE TEMP TABLE pairs AS SELECT DISTINCT camera, label FROM counted
            WHERE label NOT IN ('{NOTHING_DETECTED}', '{NO_LABEL}')
            """
        )
        self._database.execute("DROP TABLE counted")

    def _count_frames(self, layout: Layout) -> None:
        self._database.execute(
            "INSERT INTO frames SELECT camera, code IS NOT NULL, us IS NULL, count(*) "
            "FROM rows GROUP BY ALL"
        )
        self._database.execute(
            "INSERT INTO failures SELECT camera, code, count(*) FROM rows "
            "WHERE code IS NOT NULL GROUP BY ALL"
        )
        for number, (definition, _) in enumerate(layout.latencies):
            ms = f"latency_{number}"
            self._database.execute(
                f"""
                INSERT INTO latencies SELECT camera, $definition,
                  CASE WHEN {ms} < 0 THEN {BEFORE_SENT}
                    ELSE CAST(round(ln(greatest({ms}, 1)) / {LATENCY_STEP}) AS INTEGER) END,
                  count(*)
                FROM rows WHERE {ms} IS NOT NULL AND isfinite({ms}) GROUP BY ALL
                """,
                {"definition": definition},
            )

    def _keep_examples(self) -> None:
        """The newest rows of each label and camera, and of each code.

        Of many rows the newest hold nearly all labels; all rows are looked through only for those
        that are not among them.
        """
        database = self._database
        some = f"(FROM rows ORDER BY us DESC NULLS LAST LIMIT {_NEWEST_ROWS})"
        examples = _EXAMPLES_OF.format(rows=some)
        database.execute(f"CREATE OR REPLACE TEMP TABLE newest AS {examples}")
        [rows] = self._one("SELECT count(*) FROM rows")
        if rows > _NEWEST_ROWS:
            database.execute(
                """
                CREATE OR REPLACE TEMP TABLE absent AS SELECT camera, label FROM pairs
                EXCEPT SELECT camera, label FROM newest WHERE NOT failed
                """
            )
            if self._one("SELECT count(*) FROM absent")[0]:
                some = "(FROM rows WHERE camera IN (SELECT camera FROM absent))"
                database.execute(
                    f"INSERT INTO newest SELECT * FROM ({_EXAMPLES_OF.format(rows=some)}) "
                    "WHERE NOT failed AND (camera, label) IN (SELECT (camera, label) FROM absent)"
                )
            database.execute("DROP TABLE absent")
        database.execute("INSERT INTO examples FROM newest")
        database.execute("DROP TABLE newest")
