"""What HDFS and YARN share: a folder of settings, and how their daemons run."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from pathlib import Path

from pyspark_vision.clients.local_services import jars
from pyspark_vision.clients.local_services.java import LOG_WARNINGS, SMALL_JVM, java


def write_site(path: Path, settings: Mapping[str, str]) -> None:
    """Write ``core-site.xml`` or another of its kind."""
    configuration = ElementTree.Element("configuration")
    for key, value in settings.items():
        entry = ElementTree.SubElement(configuration, "property")
        ElementTree.SubElement(entry, "name").text = key
        ElementTree.SubElement(entry, "value").text = value
    ElementTree.ElementTree(configuration).write(path, encoding="unicode")


def command(main_class: str, conf_dir: Path, logs: Path, *arguments: str) -> list[str]:
    """Run a class of Hadoop with the settings in ``conf_dir``."""
    class_path = [
        str(conf_dir),
        *(str(jar) for jar in jars.files("hadoop-daemons")),
        f"{jars.pyspark_home() / 'jars'}/*",
    ]
    properties = (
        f"-Dhadoop.log.dir={logs}",
        f"-Dyarn.log.dir={logs}",
        f"-Djava.io.tmpdir={logs}",  # their web servers unpack themselves there
        LOG_WARNINGS,
    )
    return [
        java(),
        *SMALL_JVM,
        *properties,
        "-cp",
        ":".join(class_path),
        f"org.apache.hadoop.{main_class}",
        *arguments,
    ]
