"""The least that Spark can do with a folder of pictures and a pandas UDF: BEGAN_AT PHASES FOLDER
OUTPUT CHECKPOINT.

Its own stream of files, a UDF that gives the size of each picture, Parquet, available-now.
"""

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from benchmarks.start_streams.phases import Phases


def main(phases: Phases) -> None:
    phases.next("imports")
    phases.count_calls()
    import pandas as pd
    import pyspark.sql.functions
    from pyspark.sql import SparkSession
    from pyspark.sql.types import LongType

    folder, output, checkpoint = sys.argv[1:]

    def size(contents: pd.Series) -> pd.Series:
        return contents.map(len)

    functions: Any = pyspark.sql.functions  # its annotations do not export pandas_udf
    size_of = functions.pandas_udf(size, LongType())
    phases.next("session")
    session = SparkSession.builder.appName("spark-own").getOrCreate()
    phases.next("plan")
    schema = "path string, modificationTime timestamp, length long, content binary"
    pictures = session.readStream.format("binaryFile").schema(schema).load(folder)
    results = pictures.select("path", size_of("content").alias("size"))
    writer = results.writeStream.format("parquet").option("path", output)
    writer = writer.option("checkpointLocation", checkpoint).trigger(availableNow=True)
    phases.next("batches")
    writer.start().awaitTermination()
    phases.next("end")
    phases.write()


if __name__ == "__main__":
    main(Phases.from_argv("JVM"))
