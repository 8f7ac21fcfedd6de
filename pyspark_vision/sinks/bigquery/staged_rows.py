"""A batch's rows on their way from executors: files of JSON lines, below the checkpoint or on gs://.

Executors write them, each its own, so that nothing of a batch is collected in the driver's memory
and a model runs on all of them at once. What the table refuses stands beside, by its reason. From a
folder on ``gs://`` BigQuery reads the files itself; from any other the driver copies them to one
file on its disk, which is then sent piece by piece.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from pyspark.sql import functions as F

from pyspark_vision.spark.hadoop import (
    Status,
    delete,
    hadoop_path,
    list_names,
    local_path,
    statuses,
)

if TYPE_CHECKING:
    from pyspark.sql import Column, DataFrame, SparkSession

_GOOD, _REFUSED = "refused=false", "refused=true"
# Of refused rows the driver keeps their reasons, of which there are a few for each column.
_MOST_REASONS = 1000


@dataclass(frozen=True)
class StagedRows:
    """A batch's files in ``folder``."""

    session: SparkSession
    folder: str

    def write(self, results: DataFrame, line: Column, refused: Column) -> None:
        """Write each row's ``line``, or why it is ``refused`` where that is not null."""
        rows = results.select(
            F.coalesce(refused, line).alias("value"), refused.isNotNull().alias("refused")
        )
        # What an earlier attempt has left, with other refused rows or none. An overwrite would keep
        # what it does not replace where the session's partitionOverwriteMode is dynamic.
        self.remove()
        rows.write.partitionBy("refused").text(self.folder)

    def files(self) -> list[Status]:
        """Those with lines for the table, in the order of their names."""
        return self._files(_GOOD)

    def count(self) -> int:
        """The lines of :meth:`files`."""
        return self.session.read.text(f"{self.folder}/{_GOOD}").count()

    def uris(self) -> list[str]:
        """The URIs of :meth:`files` for BigQuery: Hadoop's URI of a file is its name as it is."""
        return [file.uri for file in self.files()]

    def refused(self) -> Counter[str]:
        """How many rows are refused, by reason."""
        reasons: Counter[str] = Counter()
        for file in self._files(_REFUSED):
            with _opened(self.session, file) as lines:
                for line in lines:
                    text = line.decode().rstrip("\n")
                    reasons[text if len(reasons) < _MOST_REASONS else "other reasons"] += 1
        return reasons

    @contextmanager
    def as_one_file(self) -> Iterator[tuple[IO[bytes], int]]:
        """(All lines in one file on the driver's disk, how many they are)."""
        with tempfile.TemporaryFile(prefix="pyspark_vision-") as whole:
            for file in self.files():
                with _opened(self.session, file) as part:
                    shutil.copyfileobj(part, whole)
            whole.seek(0)
            count = sum(1 for _ in whole)
            whole.seek(0)
            yield whole, count

    def remove(self) -> None:
        """When the rows are in."""
        delete(self.session, self.folder)

    def _files(self, part: str) -> list[Status]:
        if part not in (list_names(self.session, self.folder) or ()):
            return []
        listed = statuses(self.session, f"{self.folder}/{part}")
        files = [file for file in listed if not file.name.startswith(("_", ".")) and file.size]
        return sorted(files, key=lambda file: file.name)


@contextmanager
def _opened(session: SparkSession, file: Status) -> Iterator[IO[bytes]]:
    """A file of any Hadoop file system, as one of this machine."""
    local = local_path(session, file.uri)
    if local is not None:
        with local.open("rb") as lines:
            yield lines
        return
    with tempfile.TemporaryDirectory(prefix="pyspark_vision-") as folder:
        copy = Path(folder, "part")
        file_system, path = hadoop_path(session, file.uri)
        _, target = hadoop_path(session, copy.as_uri())
        file_system.copyToLocalFile(path, target)
        with copy.open("rb") as lines:
            yield lines
