"""Archives unpacked without trust: odd names, links, bombs, damage, and places that are taken."""

import random
import stat
import zipfile

import pytest
from download_server import archive_of

from pipelines.download.archives import forget, unpack
from pipelines.download.catalogue import PublishedFile
from pipelines.download.transfer import DownloadError

CONTENT = random.Random(0).randbytes(1000)


def links(name):
    info = zipfile.ZipInfo(name)
    info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
    return info


PICTURES = PublishedFile("http://x/p.zip", members=("p/*.jpg",), folder="images", unpacked=10**6)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_nothing_but_what_is_wanted_is_unpacked(tmp_path):
    outside = [
        "../evil.jpg",
        "p/../../evil.jpg",
        "/p/evil.jpg",
        "p/x/evil.jpg",
        "p\\evil.jpg",
        "C:/p/e.jpg",
        "p//e.jpg",
    ]
    members = [("p/1.jpg", b"one"), ("p/", b""), ("q/2.jpg", b"other"), (links("p/link.jpg"), b"/etc/passwd")]
    work = tmp_path / "work"
    work.mkdir()
    unpack(PICTURES, archive_of(work / "p.zip", members + [(name, b"!") for name in outside]), tmp_path / "data")
    found = [path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if not path.is_dir()]
    assert sorted(found) == ["data/images/p/1.jpg", "work/p.zip"]
    assert (tmp_path / "data/images/p/1.jpg").read_bytes() == b"one"


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize(
    "members, sentence",
    [
        ([("p/1.jpg", b"1"), ("p/1.jpg", b"2")], "names a file twice"),
        ([("p/1.jpg", bytes(10**6 + 1))], "comes to 1,000,001 bytes, and at most 1,000,000 are expected"),
        ([("q/1.jpg", b"1")], r"has no p/\*.jpg; it is not the archive as published"),
    ],
)
def test_archives_that_are_not_as_published(tmp_path, members, sentence):
    archive_of(tmp_path / "p.zip", members)
    with pytest.raises(DownloadError, match=sentence):
        unpack(PICTURES, tmp_path / "p.zip", tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_damaged_archive_leaves_nothing(tmp_path):
    path = archive_of(tmp_path / "p.zip", [("p/1.jpg", CONTENT), ("p/2.jpg", CONTENT)])
    whole = bytearray(path.read_bytes())
    whole[1500] ^= 255
    path.write_bytes(whole)
    with pytest.raises(DownloadError, match="p.zip cannot be unpacked: .*delete it and run the command again"):
        unpack(PICTURES, path, tmp_path / "data")
    assert not (tmp_path / "data").exists()
    path.write_bytes(whole[:700])
    with pytest.raises(DownloadError, match="cannot be unpacked"):
        unpack(PICTURES, path, tmp_path / "data")


def test_what_is_there_is_not_written_over(tmp_path):
    (tmp_path / "data" / "images" / "p").mkdir(parents=True)
    path = archive_of(tmp_path / "p.zip", [("p/1.jpg", b"1")])
    with pytest.raises(DownloadError, match="images/p is there already; move it away"):
        unpack(PICTURES, path, tmp_path / "data")
    (tmp_path / "data" / "images" / "p").rmdir()
    # Unpacked already; the archive is not read again.
    path.write_bytes(b"")
    unpack(PICTURES, path, tmp_path / "data")
    assert (tmp_path / "data/images/p/1.jpg").read_bytes() == b"1"
    # As a run that was killed before it could note that all is there.
    unpack(PICTURES, path, tmp_path / "data")
    forget(path)
    assert [found.name for found in tmp_path.iterdir() if "unpack" in found.name] == []
