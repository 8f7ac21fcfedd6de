"""What Spark does not promise stands in ``spark/internals.py``; nothing else reaches for it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pyspark
import pytest
from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parents[2]
INTERNALS = "pyspark_vision/spark/internals.py"
CHECKPOINT_LOGS = "pyspark_vision/spark/checkpoint_logs.py"
ERROR_TEXTS = "pyspark_vision/spark/error_texts.py"

# Private names of other libraries than Spark.
OF_OTHERS = {
    # argparse: types without public names, and the hook that tells a help's default
    *("_ActionsContainer", "_ArgumentGroup", "_SubParsersAction", "_get_help_string"),
    "_get_full_signature_list",  # LiteRT
    "_get_ops_details",  # LiteRT
    "_keras_history",  # Keras
    # confluent-kafka: the codes of errors that its client meets itself, public in its documentation
    *("_ALL_BROKERS_DOWN", "_TRANSPORT", "_TIMED_OUT", "_AUTHENTICATION", "_UNKNOWN_TOPIC"),
    *("_PARTITION_EOF", "_MSG_TIMED_OUT", "_QUEUE_FULL", "_FATAL", "_AUTO_OFFSET_RESET"),
    *("_PURGE_QUEUE", "_PURGE_INFLIGHT"),
}

# Java classes of Spark, py4j, what PySpark tells itself by the environment, files of a checkpoint.
PRIVATE_TEXT = re.compile(
    r"org\.apache\.spark\.|\bpy4j\b|java_gateway|pyspark\.daemon|pyspark-shell|PYSPARK_GATEWAY"
    r"|PYSPARK_SUBMIT_ARGS|PYSPARK_REMOTE_INIT|SPARK_CONNECT_MODE_ENABLED|SPARK_LOCAL_REMOTE"
    r"|/(offsets|commits|sources)(/|$)|logOffset|batchWatermarkMs"
    r"|SPARK_SUBMIT_OPTS|PYTHON_UNIX_DOMAIN_ENABLED|spark-core_|\bsun\.(misc|jnu)\."
    r"|isDirectory=\("
    # What errors say.
    r"|exited unexpectedly|Cannot run program|RecordTooLarge|may have been lost|FAILED_READ_FILE"
    r"|DELTA_[A-Z]+|org\.apache\.iceberg\.exceptions|Precondition Failed|No FileSystem for scheme"
)

# A setting of Spark's SQL; others are in its documentation, or in that of a connector.
SETTING = re.compile(r"spark\.sql(\.[a-z][A-Za-z]*)+")
# In Spark's documentation, though `SET -v` leaves them out.
DOCUMENTED = {
    "spark.sql.caseSensitive",
    "spark.sql.catalogImplementation",
    "spark.sql.streaming.checkpointFileManagerClass",
}

ALLOWED = {
    # As sbin/start-master.sh has it: a cluster for the tests, no part of a job.
    "scripts/local_services/standalone.py": {"org.apache.spark.deploy."},
    # In a worker, where no module of Spark's is: what Spark has told it of its socket. Unknown: a
    # worker whose socket is closed may print a traceback.
    "pyspark_vision/executor/worker/idle.py": {"PYTHON_UNIX_DOMAIN_ENABLED"},
    # Delta Lake's class, which its own guide has users name.
    "pyspark_vision/spark/delta_lake.py": {"org.apache.spark.sql.delta.catalog.DeltaCatalog"},
}


# The ways of internals.py into the JVM, for public classes: who takes them, and for what.
JAVA_WAYS = ("java_class", "hadoop_configuration")
JAVA_USERS = {
    # Hadoop's file systems: Spark's readers and writers neither rename, nor remove, nor make a file
    # that is not there yet.
    "pyspark_vision/spark/hadoop.py": {"java_class", "hadoop_configuration"},
    # Settings of core-site.xml, which no setting of Spark's shows, and who has made them.
    "pyspark_vision/spark/hadoop_settings.py": {"hadoop_configuration"},
    # Whether a jar is there.
    "pyspark_vision/spark/java_errors.py": {"java_class"},
    # Kafka's admin client: Spark asks brokers for nothing but offsets.
    "pyspark_vision/sources/kafka_cluster.py": {"java_class"},
}


# Texts of libraries that have no other way to tell, and that no JVM is behind.
ALLOWED_READS = {
    # Our own errors: how they name a model.
    "pyspark_vision/bundles/by_name.py": ["str(path) not in str(error)", "'=' in str(error)"],
    # Arrow's, of a store's answer; of any other text its beginning is shown.
    "pyspark_vision/clients/dashboard/folder.py": [
        "'magic bytes' in said",
        "'Parquet file size is' in said",
    ],
    "pyspark_vision/clients/dashboard/places.py": [
        "'PERMISSION_DENIED' in said",
        "'access token' in said",
        "'ACCESS_DENIED' in said",
        "'403' in said",
        "'InvalidAccessKeyId' in said",
    ],
    # TensorFlow's, of a file that it cannot restore; of any other text it is raised.
    "pyspark_vision/executor/engines/tensorflow.py": ["'add_slot' not in str(error)"],
    # Google's, of a right that is missing; of any other text it is raised.
    "scripts/deploying/storage.py": [
        "'storage.buckets.get' in str(error)",
        "'does not have' in str(error)",
        "'publish' not in str(error)",
    ],
}


def private_uses(source: str) -> set[str]:
    """The names and texts by which a module uses Spark privately, its docstrings aside."""
    nodes = list(ast.walk(ast.parse(source)))
    documents = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
    names = {name for node in nodes for name in _names(node)} - OF_OTHERS - _own_names(nodes)
    texts = {text for node in nodes if id(node) not in documents for text in _texts(node)}
    return {name for name in names if re.match("_[^_]|__dict__$", name)} | {
        text for text in texts if PRIVATE_TEXT.search(text)
    }


def _own_names(nodes: list[ast.AST]) -> set[str]:
    """What the module's own classes define: another of their objects has it, too."""
    methods = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
    assigned = {node.attr for node in nodes if isinstance(node, ast.Attribute) and _is_own(node)}
    return methods | assigned


def _is_own(node: ast.Attribute) -> bool:
    return isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")


def _names(node: ast.AST) -> Iterator[str]:
    """Attributes of objects that are not the module's own, by whatever way."""
    if isinstance(node, ast.Attribute):
        if not _is_own(node):
            yield node.attr
    elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("getattr", "hasattr", "setattr"):
        if isinstance(node.args[1], ast.Constant):
            yield str(node.args[1].value)
    elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("pyspark."):
        yield from (alias.name for alias in node.names)


def _texts(node: ast.AST) -> Iterator[str]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        yield node.value if isinstance(node.value, str) else node.value.decode(errors="replace")
    elif isinstance(node, ast.Attribute):
        yield f"{ast.unparse(node)}."
    elif isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield from (f"{node.module}.{alias.name}" for alias in node.names)


def java_ways(source: str) -> set[str]:
    """The ways into the JVM that a module takes from ``internals``."""
    nodes = list(ast.walk(ast.parse(source)))
    imported = {
        alias.name
        for node in nodes
        if isinstance(node, ast.ImportFrom) and (node.module or "").endswith("spark.internals")
        for alias in node.names
    }
    looked_up = {node.attr for node in nodes if isinstance(node, ast.Attribute)}
    return (imported | (looked_up - _own_names(nodes))) & set(JAVA_WAYS)


def error_texts_read(source: str) -> Iterator[str]:
    """Where a module looks for words in the text of an error, other than by ``error_texts``."""
    for part in ast.parse(source).body:
        errors = {node.name for node in ast.walk(part) if isinstance(node, ast.ExceptHandler)}
        errors |= {
            node.arg
            for node in ast.walk(part)
            if isinstance(node, ast.arg) and node.annotation and _is_error(node.annotation)
        }
        texts = [f"str({name})" for name in errors if name]
        texts += [
            ast.unparse(node.targets[0])
            for node in ast.walk(part)
            if isinstance(node, ast.Assign)
            and any(text in ast.unparse(node.value) for text in texts)
        ]
        for node in ast.walk(part):
            if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.In | ast.NotIn):
                looked_in, look = ast.unparse(node.comparators[0]), ast.unparse(node)
            elif isinstance(node, ast.Call) and _is_search(node.func) and node.args:
                looked_in, look = ast.unparse(node.args[-1]), ast.unparse(node)
            else:
                continue
            if looked_in in texts and "error_texts." not in look:
                yield look


def _is_error(annotation: ast.expr) -> bool:
    return ast.unparse(annotation).endswith(("Exception", "Error"))


def _is_search(function: ast.expr) -> bool:
    names = ("search", "match", "fullmatch", "findall", "finditer")
    return isinstance(function, ast.Attribute) and function.attr in names


def _settings(source: str) -> set[str]:
    nodes = list(ast.walk(ast.parse(source)))
    texts = {
        node.value
        for node in nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    return {text for text in texts if SETTING.fullmatch(text)}


def _modules() -> Iterator[Path]:
    for folder in ("pyspark_vision", "jobs", "scripts"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix == ".py" or (path.is_file() and _is_script(path)):
                yield path


def _is_script(path: Path) -> bool:
    with path.open("rb") as file:
        return path.suffix == "" and b"python" in file.readline()


def test_only_internals_uses_what_spark_does_not_promise() -> None:
    found = {
        str(path.relative_to(ROOT)): private_uses(path.read_text("utf-8")) for path in _modules()
    }

    assert "_jvm" in found.pop(INTERNALS)
    assert "/offsets/" in found.pop(CHECKPOINT_LOGS)
    assert "Python worker exited unexpectedly" in found.pop(ERROR_TEXTS)
    assert {path: uses for path, uses in found.items() if uses} == ALLOWED


def test_java_is_reached_by_the_modules_that_have_a_reason() -> None:
    ways = {str(path.relative_to(ROOT)): java_ways(path.read_text("utf-8")) for path in _modules()}

    del ways[INTERNALS]
    assert {path: taken for path, taken in ways.items() if taken} == JAVA_USERS


def test_internals_stay_small() -> None:
    assert len((ROOT / INTERNALS).read_text("utf-8").splitlines()) < 280


def test_what_errors_say_is_read_by_error_texts_alone() -> None:
    found = {
        str(path.relative_to(ROOT)): list(error_texts_read(path.read_text("utf-8")))
        for path in _modules()
    }

    assert {path: uses for path, uses in found.items() if uses} == ALLOWED_READS


@pytest.mark.skipif(
    not pyspark.__version__.startswith("4.2."), reason="each Spark documents others"
)
def test_settings_without_documentation_stand_in_internals(spark: SparkSession) -> None:
    documented = {row["key"] for row in spark.sql("SET -v").collect()} | DOCUMENTED
    found = {
        str(path.relative_to(ROOT)): _settings(path.read_text("utf-8")) - documented
        for path in _modules()
    }

    assert found.pop(INTERNALS)
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "planted",
    [
        "session._jvm.java.lang.System.exit(1)",
        "context = session.sparkContext; context._jsc.sc()",
        "hasattr(session, '_jsparkSession')",
        "column.__dict__['mark'] = 1",
        "from py4j.protocol import Py4JJavaError",
        "import py4j.java_gateway",
        "from pyspark import java_gateway",
        "from pyspark.sql.types import _parse_datatype_string",
        "java_class(session, 'org.apache.spark.sql.functions').lit(1)",
        "name = 'org.apache.spark.sql.kafka010.KafkaSourceProvider'",
        "name = f'org.apache.spark.deploy.{main}'",
        "os.environ['PYSPARK_GATEWAY_PORT']",
        "read_text(session, f'{checkpoint}/offsets/{batch_id}')",
    ],
)
def test_a_planted_private_use_is_found(planted: str) -> None:
    assert private_uses(f'"""A module."""\n\n{planted}\n')


@pytest.mark.parametrize(
    "planted",
    [
        "try: f()\nexcept Exception as error:\n  if 'FileNotFound' in str(error): raise",
        "try: f()\nexcept Exception as error:\n  found = re.search('lost', str(error))",
        "def why(failure: Exception) -> bool:\n  return _LOST.search(str(failure)) is not None",
        "def why(e: Exception) -> bool:\n  text = str(e)\n  return any(w in text for w in WORDS)",
    ],
)
def test_a_planted_look_into_an_errors_text_is_found(planted: str) -> None:
    assert list(error_texts_read(planted))


@pytest.mark.parametrize(
    "public",
    [
        "try: f()\nexcept Exception as error:\n  print(str(error))",
        "try: f()\nexcept Exception as error:\n  if error_texts.NO_TOPIC in str(error): raise",
        "def why(value: object) -> bool:\n  return 'x' in str(value)",
    ],
)
def test_showing_an_errors_text_is_not(public: str) -> None:
    assert not list(error_texts_read(public))


@pytest.mark.parametrize(
    "public",
    [
        "'''session._jvm of py4j, org.apache.spark.sql.Row'''",
        "java_class(session, 'org.apache.hadoop.fs.Path')(uri)",
        "self._jvm = self._session",
        "'--packages org.apache.spark:spark-sql-kafka-0-10_2.13:4.2.0'",
        "from pyspark.sql.types import StructType",
    ],
)
def test_a_public_use_is_not(public: str) -> None:
    assert private_uses(public) == set()


@pytest.mark.parametrize(
    "planted",
    [
        "from pyspark_vision.spark.internals import java_class",
        "from pyspark_vision.spark import internals\ninternals.java_class(None, 'java.io.File')",
    ],
)
def test_a_planted_way_into_the_jvm_is_found(planted: str) -> None:
    assert java_ways(planted) == {"java_class"}
