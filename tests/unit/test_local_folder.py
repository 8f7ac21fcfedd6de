"""A folder of local disks: each file once, whatever its name, its time, and the links around it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from pyspark_vision.errors import InvalidOptionError
from pyspark_vision.executor.fetch.fetched import FetchOptions
from pyspark_vision.executor.fetch.object_store import canonical, fetch
from pyspark_vision.executor.row_errors import RowError
from pyspark_vision.sources import local_folder
from pyspark_vision.sources.file_names import Names
from pyspark_vision.sources.linked_folders import LinkedFolders
from pyspark_vision.sources.listed_files import ListedFile, Tally

ODD_NAMES = [
    b"plain.jpg",
    b"with space .jpg",
    b" before.jpg",
    b"12:00:00.jpg",
    b"100%25.jpg",
    b"50%.jpg",
    b"a#b?c&d=e.jpg",
    b"[1]{2,3}*.jpg",
    b"back\\slash.jpg",
    b"line\nbreak.jpg",
    b"tab\t'quote'\".jpg",
    "café-日本.jpg".encode(),
    b"bytes\xff\xfe.jpg",
    b"_DSC0001.JPG",
    b".hidden.png",
    b"=batch_id=3.jpg",
    b"x" * 250 + b".jpg",
]


def listed(folder: Path, glob: str = "*") -> tuple[list[ListedFile], Tally]:
    tally = Tally()
    path = local_folder.folder_path(str(folder))
    return list(local_folder.files_below(path, Names(glob), tally)), tally


def options(folder: Path) -> FetchOptions:
    prefix = canonical(local_folder.allowed_prefix(str(folder)).rstrip("/") + "/")
    return FetchOptions(None, None, False, (prefix,), 1000, 1, 1, 1.0)


def names(files: list[ListedFile], folder: Path) -> list[str]:
    return sorted(file.origin.removeprefix(f"file:{folder}/") for file in files)


def test_a_file_of_any_name_is_listed_and_fetched_by_its_uri(tmp_path: Path) -> None:
    folder = tmp_path / "in [1] %41"
    folder.mkdir()
    for number, name in enumerate(ODD_NAMES):
        with open(os.fsencode(folder) + b"/" + name, "wb") as file:
            file.write(b"%d" % number)

    files, tally = listed(folder)

    contents = [fetch(file.uri, options(folder)).content for file in files]
    assert sorted(contents, key=str) == sorted((b"%d" % n for n in range(len(ODD_NAMES))), key=str)
    assert tally == Tally(len(ODD_NAMES))
    # Text that Spark can hold, the ordinary ones as Spark's own reader gives them.
    assert all(file.origin.encode() for file in files)
    assert f"file:{folder}/with space .jpg" in [file.origin for file in files]
    assert f"file:{folder}/bytes%FF%FE.jpg" in [file.origin for file in files]


def test_names_do_not_depend_on_the_locale(tmp_path: Path) -> None:
    (tmp_path / "caf\u00e9").mkdir()
    (tmp_path / "caf\u00e9" / "\u00fc.jpg").write_bytes(b"x")
    program = (
        "import sys; from pyspark_vision.sources import local_folder as f\n"
        "from pyspark_vision.sources.file_names import Names\n"
        "from pyspark_vision.sources.listed_files import Tally\n"
        "for one in f.files_below(f.folder_path(sys.argv[1]), Names('*'), Tally()):\n"
        "    print(ascii(one.origin), one.uri)\n"
    )

    said = [
        subprocess.run(
            [sys.executable, *flags, "-c", program, tmp_path / "caf\u00e9"],
            env={**os.environ, "LC_ALL": locale},
            capture_output=True,
            check=True,
        ).stdout
        for locale, flags in (("C.UTF-8", []), ("POSIX", []), ("POSIX", ["-X", "utf8=0"]))
    ]

    assert b"caf%C3%A9/%C3%BC.jpg" in said[0]
    assert said[0] == said[1] == said[2]


def test_what_is_left_out_is_counted_with_its_reason(tmp_path: Path) -> None:
    for name in ("a.jpg", "_b.JPG", ".DS_Store", "_SUCCESS", ".a.jpg.X7f3Qa", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "_folder").mkdir()
    (tmp_path / "_folder" / "c.jpg").touch()
    os.mkfifo(tmp_path / "pipe.jpg")

    files, tally = listed(tmp_path, "*.{jpg,JPG}")

    assert names(files, tmp_path) == ["_b.JPG", "_folder/c.jpg", "a.jpg"]
    assert tally.left_out == Counter(hidden=3, not_matching=1, not_a_file=1)
    assert tally.seen == 8


def test_times_do_not_matter(tmp_path: Path) -> None:
    for name, at in (("1970", 1), ("2019", 1_560_000_000), ("ahead", time.time() + 1e8)):
        (tmp_path / name).write_bytes(b"12345")
        os.utime(tmp_path / name, (at, at))

    files, _ = listed(tmp_path)

    assert names(files, tmp_path) == ["1970", "2019", "ahead"]
    assert [file.size for file in files] == [5, 5, 5]
    assert min(file.modified_ms or 0 for file in files) == 1000


def test_links_to_folders_multiply_nothing_and_links_to_files_are_files(tmp_path: Path) -> None:
    folder, elsewhere = tmp_path / "in", tmp_path / "elsewhere"
    for path in (folder / "real", elsewhere / "below"):
        path.mkdir(parents=True)
        (path / "a.jpg").write_bytes(b"x")
    (tmp_path / "beside.jpg").write_bytes(b"x")
    for link, target in (
        ("a-first", "real"),
        ("itself", "."),
        ("above", ".."),
        ("real/above", "../.."),
        ("outside", elsewhere),
        ("outside-again", elsewhere),
        ("link.jpg", "real/a.jpg"),
        ("broken.jpg", "nothing"),
        ("circle.jpg", "circle.jpg"),
    ):
        (folder / link).symlink_to(target)

    files, tally = listed(folder)

    assert names(files, folder) == [
        "broken.jpg",
        "circle.jpg",
        "link.jpg",
        "outside/below/a.jpg",
        "real/a.jpg",
    ]
    assert tally == Tally(10, Counter(link_above=3, link_repeated=2))
    problems = [fetch(file.uri, options(folder)).content for file in files]
    codes = [one.code.value for one in problems if isinstance(one, RowError)]
    assert sorted(codes) == ["fetch_failed", "fetch_not_found"]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"m": "outer"}, {"m": "outer", "a": "outer", "z": "outer"}),
        ({"m": "outer"}, {"other-name": "outer"}),
        ({"m": "outer/below"}, {"m": "outer/below", "a": "outer"}),
        ({"m": "outer"}, {"a": "outer/below", "m": "outer"}),
        ({"m": "outer/below", "n": "outer"}, {"a": "outer"}),
        ({"m": "outer"}, {"m": "another", "z": "outer"}),
    ],
)
def test_files_outside_keep_their_names_whatever_links_lead_to_them_later(
    before: dict[str, str], after: dict[str, str], tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    for path in (folder, tmp_path / "outer" / "below", tmp_path / "another" / "below"):
        path.mkdir(parents=True)
    for name in ("outer/a.jpg", "outer/below/a.jpg", "another/a.jpg", "another/below/a.jpg"):
        (tmp_path / name).write_text(name)
    linked = LinkedFolders()
    names_of: list[dict[str, str]] = []
    for links in (before, after):
        for link, target in links.items():
            (folder / link).symlink_to(tmp_path / target)
        tally = Tally()
        top = os.fsencode(folder)

        files = list(local_folder.files_below(top, Names("*"), tally, linked=linked))

        contents = {file.origin: fetch(file.uri, options(folder)).content for file in files}
        names_of.append({bytes(c).decode(): o for o, c in contents.items()})  # type: ignore[arg-type]
        assert len(names_of[-1]) == len(files) == tally.seen - tally.left_out.total()
        identities = {file.identity for file in files}
        assert identities == {local_folder.uri_of(os.fsencode(f.origin[5:])) for f in files}
        for link in links:
            (folder / link).unlink()

    first, second = names_of
    assert {content: second[content] for content in first if content in second} == {
        content: name for content, name in first.items() if content in second
    }
    # No name is another file's.
    all_names = {**first, **second}
    assert len(set(all_names.values())) == len(all_names)
    assert "outer/below/a.jpg" in first
    assert "outer/below/a.jpg" in second


def test_what_went_or_became_a_pipe_since_is_a_reason_and_nobody_waits(tmp_path: Path) -> None:
    for name in ("gone.jpg", "pipe.jpg"):
        (tmp_path / name).write_bytes(b"x")
    files, _ = listed(tmp_path)
    for name in ("gone.jpg", "pipe.jpg"):
        (tmp_path / name).unlink()
    os.mkfifo(tmp_path / "pipe.jpg")

    found = {file.origin[-8:]: fetch(file.uri, options(tmp_path)).content for file in files}

    codes = {name: one.code.value for name, one in found.items() if isinstance(one, RowError)}
    assert codes == {"gone.jpg": "fetch_not_found", "pipe.jpg": "fetch_failed"}


def test_a_folder_that_may_not_be_listed_is_counted_and_the_rest_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("closed", "open"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.jpg").write_bytes(b"x")
    scandir = os.scandir

    def refusing(path: bytes) -> object:  # root may list everything
        if path.endswith(b"closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)

    files, tally = listed(tmp_path)

    assert names(files, tmp_path) == ["open/a.jpg"]
    assert tally.left_out == Counter(unreadable_folder=1)
    assert tally.unreadable_folders == [f"{tmp_path}/closed: Permission denied"]


def test_a_folder_that_goes_while_it_is_listed_and_lost_found_at_the_top_are_no_failures(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("gone", "lost+found", "open/lost+found"):
        (tmp_path / name).mkdir(parents=True)
    scandir = os.scandir

    def refusing(path: bytes) -> object:
        if path.endswith(b"gone"):
            raise FileNotFoundError(2, "No such file or directory")
        if path.endswith(b"lost+found"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)

    _, tally = listed(tmp_path)

    assert tally.unreadable_folders == [f"{tmp_path}/open/lost+found: Permission denied"]
    assert tally.seen == 1


def test_one_file_is_a_folder_of_one(tmp_path: Path) -> None:
    (tmp_path / "_a [1].jpg").write_bytes(b"x")

    files, tally = listed(tmp_path / "_a [1].jpg", "*.png")

    assert names(files, tmp_path) == ["_a [1].jpg"]
    assert tally == Tally(1)
    assert fetch(files[0].uri, options(tmp_path / "_a [1].jpg")).content == b"x"


@pytest.mark.parametrize("form", ["{}", "file:{}", "file://{}", "{}/", "{}/../in"])
def test_a_folder_is_named_as_it_is_by_path_or_uri(form: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"x")

    path = local_folder.folder_path(form.format(folder))

    [file] = local_folder.files_below(path, Names("*"), Tally())
    assert file.origin == f"file:{folder}/a.jpg"


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidOptionError, match="there is no .*nothing"):
        local_folder.check(f"file:{tmp_path}/nothing")


def test_a_link_into_what_the_job_writes_is_not_entered_and_counted(tmp_path: Path) -> None:
    for folder in ("in", "out/batch_id=0", "outside"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "a.jpg").touch()
    (tmp_path / "in" / "results").symlink_to(tmp_path / "out")
    (tmp_path / "in" / "batch").symlink_to(tmp_path / "out" / "batch_id=0")
    (tmp_path / "in" / "more").symlink_to(tmp_path / "outside")
    tally = Tally()

    files = local_folder.files_below(
        os.fsencode(tmp_path / "in"), Names("*"), tally, [os.fsencode(tmp_path / "out")]
    )

    assert sorted(file.origin for file in files) == [
        f"file:{tmp_path}/in/a.jpg",
        f"file:{tmp_path}/in/more/a.jpg",
    ]
    assert tally.left_out == {"own_output": 2}
    assert tally.seen == 4


@pytest.mark.parametrize(
    ("name", "text"),
    [
        (b"caf\xc3\xa9 100%", "caf\u00e9 100%"),
        (b"\xff.jpg", "%FF.jpg"),
        (b"%FF\xfe.jpg", "%25FF%FE.jpg"),
        (b"%FF.jpg", "%FF.jpg"),
    ],
)
def test_bytes_that_are_no_utf8_are_escaped_and_percent_signs_with_them(
    name: bytes, text: str
) -> None:
    assert local_folder.text_of(name) == text
