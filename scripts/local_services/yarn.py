"""YARN: a ResourceManager and a NodeManager, for spark-submit --master yarn."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pyspark_vision.clients.local_services import jars
from pyspark_vision.clients.local_services.java import java_home
from pyspark_vision.clients.local_services.process import (
    Daemon,
    answers_http,
    free_ports,
    json_from,
)

from . import hadoop


@dataclass(frozen=True)
class Yarn:
    """A running cluster; ``conf_dir`` is what spark-submit takes as HADOOP_CONF_DIR."""

    conf_dir: Path
    resourcemanager_url: str
    resourcemanager: Daemon
    nodemanager: Daemon

    def spark_conf(self) -> dict[str, str]:
        """Spares spark-submit the upload of 400 MB: the node has PySpark's jars already."""
        return {"spark.yarn.jars": f"local:{jars.pyspark_home() / 'jars'}/*"}


@contextmanager
def running(folder: Path, fs_uri: str) -> Iterator[Yarn]:
    """A cluster of one node, 4 GB, whose default file system is ``fs_uri``."""
    scheduler, tracker, admin, clients, rm_http, node, localizer, nm_http = (
        f"127.0.0.1:{port}" for port in free_ports(8)
    )
    conf_dir = folder / "conf"
    conf_dir.mkdir()
    hadoop.write_site(
        conf_dir / "core-site.xml",
        {"fs.defaultFS": fs_uri, "hadoop.tmp.dir": str(folder / "data"), "dfs.replication": "1"},
    )
    hadoop.write_site(
        conf_dir / "yarn-site.xml",
        {
            "yarn.resourcemanager.hostname": "127.0.0.1",
            "yarn.resourcemanager.address": clients,
            "yarn.resourcemanager.scheduler.address": scheduler,
            "yarn.resourcemanager.resource-tracker.address": tracker,
            "yarn.resourcemanager.admin.address": admin,
            "yarn.resourcemanager.webapp.address": rm_http,
            # The default, the capacity scheduler, wants a file of its own.
            "yarn.resourcemanager.scheduler.class": (
                "org.apache.hadoop.yarn.server.resourcemanager.scheduler.fifo.FifoScheduler"
            ),
            "yarn.scheduler.minimum-allocation-mb": "256",
            "yarn.nodemanager.hostname": "127.0.0.1",
            "yarn.nodemanager.address": node,
            "yarn.nodemanager.localizer.address": localizer,
            "yarn.nodemanager.webapp.address": nm_http,
            "yarn.nodemanager.resource.memory-mb": "4096",
            "yarn.nodemanager.resource.cpu-vcores": "4",
            "yarn.nodemanager.local-dirs": str(folder / "local"),
            "yarn.nodemanager.log-dirs": str(folder / "containers"),
            # Java reserves far more addresses than it uses.
            "yarn.nodemanager.vmem-check-enabled": "false",
            # A disk of a developer is nearly full; the default of 90 % makes the node unhealthy.
            "yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage": "99",
        },
    )
    environment = {"JAVA_HOME": java_home(), "HADOOP_CONF_DIR": str(conf_dir)}
    rm_url = f"http://{rm_http}"

    def command(main_class: str) -> list[str]:
        return hadoop.command(f"yarn.server.{main_class}", conf_dir, folder)

    resourcemanager = Daemon(
        "resourcemanager",
        command("resourcemanager.ResourceManager"),
        folder,
        lambda: answers_http(f"{rm_url}/ws/v1/cluster/info"),
        environment,
    )
    nodemanager = Daemon(
        "nodemanager",
        command("nodemanager.NodeManager"),
        folder,
        lambda: answers_http(f"http://{nm_http}/ws/v1/node/info") and _has_a_node(rm_url),
        environment,
        # It ends its containers in a second, then waits for the day to delete their logs.
        stop_timeout_s=4,
    )
    with resourcemanager, nodemanager:
        yield Yarn(conf_dir, rm_url, resourcemanager, nodemanager)


def _has_a_node(resourcemanager_url: str) -> bool:
    answer = json_from(f"{resourcemanager_url}/ws/v1/cluster/nodes?states=RUNNING")
    return bool(answer and answer["nodes"])
