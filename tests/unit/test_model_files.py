"""Model files in a worker: checksums, safe unpacking, and that the right file is used."""

from __future__ import annotations

import hashlib
import stat
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from pyspark_vision.executor.models.model_files import (
    PublishedFile,
    extract_zip,
    local_path,
    sha256_of,
)


def make_folder(folder: Path, files: Mapping[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def make_zip(archive: Path, *members: str) -> Path:
    with zipfile.ZipFile(archive, "w") as target:
        for member in members:
            target.writestr(member, member.encode())
    return archive


def test_sha256_of_a_file_is_that_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert sha256_of(tmp_path / "abc") == expected


def test_sha256_of_a_folder_is_that_of_its_sorted_listing(tmp_path: Path) -> None:
    folder = make_folder(tmp_path, {"b": b"2", "a/c": b"1"})
    one, two = hashlib.sha256(b"1").hexdigest(), hashlib.sha256(b"2").hexdigest()
    assert sha256_of(folder) == hashlib.sha256(f"{one}  a/c\n{two}  b\n".encode()).hexdigest()


def test_sha256_of_a_folder_does_not_depend_on_place_or_order(tmp_path: Path) -> None:
    first = make_folder(tmp_path / "x", {"a": b"1", "b/c": b"2", "d": b"3"})
    second = make_folder(tmp_path / "y", {"d": b"3", "b/c": b"2", "a": b"1"})
    assert sha256_of(first) == sha256_of(second)


@pytest.mark.parametrize(
    "files",
    [
        {"a": b"1", "b": b"3"},
        {"a": b"1", "c": b"2"},
        {"a": b"2", "b": b"1"},
        {"a": b"1", "sub/b": b"2"},
        {"a": b"1"},
        {"a": b"1", "b": b"2", "c": b""},
    ],
    ids=["content", "name", "swapped", "moved", "fewer", "more"],
)
def test_sha256_of_a_folder_tells_any_change(files: dict[str, bytes], tmp_path: Path) -> None:
    original = make_folder(tmp_path / "x", {"a": b"1", "b": b"2"})
    assert sha256_of(make_folder(tmp_path / "y", files)) != sha256_of(original)


def test_extract_zip_writes_each_member(tmp_path: Path) -> None:
    extract_zip(make_zip(tmp_path / "a.zip", "./", "a", "sub/b", "..c"), tmp_path / "out")
    written = {str(f.relative_to(tmp_path / "out")) for f in (tmp_path / "out").rglob("*")}
    assert written == {"a", "sub", "sub/b", "..c"}


@pytest.mark.parametrize(
    "member",
    ["../evil", "a/../../evil", "a/..", "/evil", "//evil", "..\\evil", "\\evil", "C:evil"],
)
def test_extract_zip_refuses_a_member_outside_before_writing(member: str, tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", "good", member)
    with pytest.raises(ValueError, match="leaves its folder") as caught:
        extract_zip(archive, tmp_path / "out")
    assert repr(member) in str(caught.value)
    assert [f.name for f in tmp_path.rglob("*")] == ["a.zip"]


def test_extract_zip_refuses_a_link_before_writing(tmp_path: Path) -> None:
    archive = make_zip(tmp_path / "a.zip", "good")
    link = zipfile.ZipInfo("link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(archive, "a") as target:
        target.writestr(link, "/etc")
    with pytest.raises(ValueError, match="member 'link' is a link"):
        extract_zip(archive, tmp_path / "out")
    assert [f.name for f in tmp_path.rglob("*")] == ["a.zip"]


@pytest.mark.parametrize("folder", [False, True])
def test_file_on_every_node_is_used_where_it_lies(folder: bool, tmp_path: Path) -> None:
    make_folder(tmp_path, {"model/weights": b"1"})
    path = tmp_path / "model" if folder else tmp_path / "model" / "weights"
    published = PublishedFile(str(path), sha256_of(path), folder, on_every_node=True)
    assert local_path(published) == str(path)


def test_file_on_this_node_that_differs_is_named_with_both_checksums(tmp_path: Path) -> None:
    (tmp_path / "model").write_bytes(b"2")
    found, said = (hashlib.sha256(content).hexdigest() for content in (b"2", b"1"))
    published = PublishedFile(str(tmp_path / "model"), said, folder=False, on_every_node=True)
    with pytest.raises(ValueError, match=f"has sha256 {found}, the spec says {said}"):
        local_path(published)


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that stands for ``SparkFiles``' own."""
    from pyspark import SparkFiles

    monkeypatch.setattr(SparkFiles, "get", lambda name: str(tmp_path / name))
    return tmp_path


def test_shipped_file_is_found_through_spark(shipped: Path) -> None:
    (shipped / "m.tflite").write_bytes(b"1")
    published = PublishedFile("m.tflite", hashlib.sha256(b"1").hexdigest(), False, False)
    assert local_path(published) == str(shipped / "m.tflite")


def test_shipped_folder_is_unpacked_once_and_verified(shipped: Path) -> None:
    make_zip(shipped / "m.zip", "a", "sub/b")
    expected = sha256_of(make_folder(shipped / "x", {"a": b"a", "sub/b": b"sub/b"}))
    published = PublishedFile("m.zip", expected, folder=True, on_every_node=False)
    path = Path(local_path(published))
    unpacked_ns = path.stat().st_mtime_ns
    assert local_path(published) == str(path)
    assert path.stat().st_mtime_ns == unpacked_ns
    assert sorted(f.name for f in shipped.iterdir()) == ["m.zip", "m.zip.unpacked", "x"]


@pytest.mark.parametrize(("name", "folder"), [("net.tflite", False), ("net.zip", True)])
def test_a_model_that_this_application_was_not_given_says_so_and_what_to_do(
    name: str, folder: bool, shipped: Path
) -> None:
    with pytest.raises(ValueError, match=r"made in another session.*Make it again in this session"):
        local_path(PublishedFile(name, "0" * 64, folder, on_every_node=False))


def test_an_unpacked_folder_of_which_files_were_swept_is_unpacked_again(
    shipped: Path, tmp_path: Path
) -> None:
    sha256 = sha256_of(make_folder(tmp_path / "net", {"a": b"a", "b/c": b"b/c"}))
    make_zip(shipped / "net.zip", "a", "b/c")
    published = PublishedFile("net.zip", sha256, folder=True, on_every_node=False)
    folder = Path(local_path(published))
    (folder / "b" / "c").unlink()

    assert Path(local_path(published)) == folder

    assert (folder / "b" / "c").read_bytes() == b"b/c"
    left = sorted(file.name for file in shipped.iterdir() if file.name != "net")
    assert left == ["net.zip", folder.name]
