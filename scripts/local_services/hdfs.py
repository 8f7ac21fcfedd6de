"""HDFS: a NameNode and a DataNode, each a process of its own that a test can kill."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyspark_vision.clients.local_services.process import (
    START_TIMEOUT_S,
    Daemon,
    ServiceError,
    free_ports,
    json_from,
    run_once,
    wait_until,
)

from . import hadoop


@dataclass(frozen=True)
class Hdfs:
    """A running file system; clients take ``conf_dir`` as HADOOP_CONF_DIR."""

    fs_uri: str
    conf_dir: Path
    namenode_url: str
    datanode_url: str
    namenode: Daemon
    datanode: Daemon

    def wait_until_writable(self, timeout_s: float = START_TIMEOUT_S) -> None:
        """Until the DataNode has reported and the NameNode has left safe mode, after a restart."""
        if not wait_until(self._is_writable, timeout_s):
            raise ServiceError(f"{self.fs_uri} is not writable after {timeout_s} s")

    def shell(self, *words: object) -> None:
        """``hadoop fs`` with these words; raises :class:`ServiceError` where it fails."""
        folder = self.conf_dir.parent
        command = hadoop.command("fs.FsShell", self.conf_dir, folder, *map(str, words))
        run_once(f"hadoop fs {' '.join(map(str, words))}", command, folder)

    def _is_writable(self) -> bool:
        state = _bean(self.namenode_url, "NameNode", "FSNamesystemState")
        return state.get("FSState") == "Operational" and _has_registered(self.datanode_url)


@contextmanager
def running(folder: Path, port: int | None = None) -> Iterator[Hdfs]:
    """A fresh file system with its blocks in ``folder``, until the end of the block.

    ``port``: of its URI; ``None``: any that is free.
    """
    free, *others = free_ports(5)
    ports = (port or free, *others)
    rpc, namenode_http, data, datanode_http, ipc = (f"127.0.0.1:{number}" for number in ports)
    namenode_url, datanode_url = f"http://{namenode_http}", f"http://{datanode_http}"
    conf_dir = folder / "conf"
    conf_dir.mkdir()
    hadoop.write_site(
        conf_dir / "core-site.xml",
        {"fs.defaultFS": f"hdfs://{rpc}", "hadoop.tmp.dir": str(folder / "data")},
    )
    hadoop.write_site(
        conf_dir / "hdfs-site.xml",
        {
            "dfs.namenode.http-address": namenode_http,
            "dfs.datanode.address": data,
            "dfs.datanode.http.address": datanode_http,
            "dfs.datanode.ipc.address": ipc,
            # One DataNode can hold one copy, and there is no other to turn to when it fails.
            "dfs.replication": "1",
            "dfs.client.block.write.replace-datanode-on-failure.policy": "NEVER",
            # A killed daemon is noticed, and its successor used, in seconds rather than minutes.
            "dfs.heartbeat.interval": "1",
            "dfs.namenode.heartbeat.recheck-interval": "2000",
            "dfs.namenode.safemode.extension": "0",
        },
    )

    def command(main_class: str, *arguments: str) -> list[str]:
        return hadoop.command(f"hdfs.server.{main_class}", conf_dir, folder, *arguments)

    run_once("hdfs-format", command("namenode.NameNode", "-format", "-nonInteractive"), folder)
    namenode = Daemon(
        "namenode",
        command("namenode.NameNode"),
        folder,
        # Not until it is out of safe mode: with files in it, that takes a DataNode.
        lambda: bool(_bean(namenode_url, "NameNode", "FSNamesystemState")),
    )
    datanode = Daemon(
        "datanode", command("datanode.DataNode"), folder, lambda: _has_registered(datanode_url)
    )
    with namenode, datanode:
        hdfs = Hdfs(f"hdfs://{rpc}", conf_dir, namenode_url, datanode_url, namenode, datanode)
        hdfs.wait_until_writable()
        yield hdfs


def _bean(url: str, service: str, name: str) -> dict[str, Any]:
    """What a daemon says of itself, empty while it says nothing."""
    answer = json_from(f"{url}/jmx?qry=Hadoop:service={service},name={name}")
    beans = answer["beans"] if answer else []
    return dict(beans[0]) if beans else {}


def _has_registered(datanode_url: str) -> bool:
    """The DataNode's own view: a NameNode counts a dead one as alive for some seconds."""
    actors = _bean(datanode_url, "DataNode", "DataNodeInfo").get("BPServiceActorInfo", "[]")
    return any(actor["ActorState"] == "RUNNING" for actor in json.loads(actors))
