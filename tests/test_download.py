"""pipelines.download against a local server that breaks off, stalls, lies and changes its mind, and odd archives."""

import errno
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
import types

import numpy as np
import pytest
from conftest import REPOSITORY
from download_server import Server, archive_of

from pipelines.coco_stuff import protocol
from pipelines.download import data_sets, transfer
from pipelines.download.catalogue import CATALOGUE, PublishedFile
from pipelines.download.transfer import DownloadError, fetch
from pipelines.visual_genome import annotations
from rgan_tf.workspace import WorkspaceError

CONTENT = np.random.default_rng(0).integers(0, 256, 5 * 2**20, dtype=np.uint8).tobytes()


@pytest.fixture
def server():
    served = Server()
    served.files["a.bin"] = CONTENT
    yield served
    served.close()


def of_content(**changes):
    digest = hashlib.sha256(CONTENT).hexdigest()
    known = dict(address="http://nowhere.invalid/a.bin", size=len(CONTENT), checksum=("sha256", digest))
    return PublishedFile(**{**known, **changes})


def get(server, folder, file=None, **more):
    file = file or of_content()
    return fetch(file, f"{server.address}/{file.name}", folder, **{"stall": 5.0, "wait": 0.01, **more})


def test_a_file_comes_whole_and_only_once(server, tmp_path):
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.bin"]
    get(server, tmp_path)
    assert len(server.asked) == 1


def test_a_transfer_that_breaks_off_goes_on_where_it_was(server, tmp_path):
    server.faults = [server.cutting(2**20), server.failing(503), server.cutting(2**20 + 5)]
    assert get(server, tmp_path).read_bytes() == CONTENT
    starts = [0 if asked is None else int(asked[6:-1]) for _, asked in server.asked]
    assert starts == sorted(starts) and len(starts) == 4 and starts[1] == starts[2] > 0 and starts[3] > starts[2]


def test_a_stalled_transfer_is_broken_and_gone_on_with(server, tmp_path):
    server.faults = [server.cutting(2**20, pause=3.0)]
    started = time.monotonic()
    assert get(server, tmp_path, stall=0.3).read_bytes() == CONTENT
    assert time.monotonic() - started < 3.0 and len(server.asked) == 2


def test_a_file_that_changed_meanwhile_is_fetched_anew(server, tmp_path):
    other = bytes(reversed(CONTENT))

    def cut_and_change(handler):
        server.answer(handler, 2**20)
        server.files["a.bin"] = other

    server.faults = [cut_and_change]
    file = of_content(checksum=("sha256", hashlib.sha256(other).hexdigest()))
    assert get(server, tmp_path, file).read_bytes() == other
    assert server.asked[1][1] is not None


def test_a_server_without_parts_sends_the_whole_again(server, tmp_path):
    server.parts = False
    server.faults = [server.cutting(2**20)]
    assert get(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("said", ["bytes */5", "", "bytes 7-9/10"])
def test_a_part_that_was_not_asked_for_is_no_part(server, tmp_path, said):
    def other_part(handler):
        handler.send_response(206)
        handler.send_header("Content-Range", said)
        handler.send_header("Content-Length", "3")
        handler.end_headers()
        handler.wfile.write(b"abc")

    server.faults = [server.cutting(2**20), other_part, other_part]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert len(server.asked) == 4


def test_a_full_disk_is_told_and_what_came_is_kept(server, tmp_path, monkeypatch):
    def full(*arguments, **options):
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "a.bin.part").write_bytes(CONTENT[:100])
    monkeypatch.setattr(transfer, "open", full, raising=False)
    with pytest.raises(DownloadError, match="a.bin.part cannot be written: No space left on device; what has come"):
        get(server, tmp_path)
    assert (tmp_path / "a.bin.part").read_bytes() == CONTENT[:100]


def test_a_file_in_its_place_must_be_the_same(tmp_path):
    for content, place in ((b"one", "x.txt"), (b"two", "y.txt")):
        (tmp_path / f"whole_{place}").write_bytes(content)
        (tmp_path / place).write_bytes(b"one")
    data_sets._copy(tmp_path / "whole_x.txt", tmp_path / "x.txt")
    with pytest.raises(DownloadError, match="y.txt is there already"):
        data_sets._copy(tmp_path / "whole_y.txt", tmp_path / "y.txt")


def test_a_weak_tag_is_not_trusted_with_parts(server, tmp_path):
    server.tags["a.bin"] = 'W/"1"'
    server.faults = [server.cutting(2**20)]
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert [asked for _, asked in server.asked] == [None, None]


def test_a_part_of_another_address_is_not_gone_on_with(server, tmp_path):
    (tmp_path / "a.bin.part").write_bytes(b"x" * 1000)
    said = {"address": "http://other/a.bin", "validator": f'"{hashlib.md5(CONTENT).hexdigest()}"'}
    (tmp_path / "a.bin.part.json").write_text(json.dumps(said))
    assert get(server, tmp_path).read_bytes() == CONTENT


@pytest.mark.parametrize("length", [len(CONTENT) + 1000, len(CONTENT) - 1000])
def test_a_lie_about_the_size_is_told(server, tmp_path, length):
    server.faults = [server.cutting(None, length=length)] * 5
    with pytest.raises(
        DownloadError, match=f"has {length:,} bytes at .* and {len(CONTENT):,} are expected; name another"
    ):
        get(server, tmp_path)
    # Where no size is known, a shorter one shows by the checksum, and a longer one by the bytes that never come.
    server.faults = [server.cutting(None, length=length)] * 20
    with pytest.raises(DownloadError, match="was deleted; run the command again" if length < len(CONTENT) else "a.bin"):
        get(server, tmp_path, of_content(size=None))


def test_another_content_is_deleted(server, tmp_path):
    server.files["a.bin"] = bytes(len(CONTENT))
    with pytest.raises(DownloadError, match="has the sha256 .* instead of .*, and was deleted; run the command again"):
        get(server, tmp_path)
    assert not list(tmp_path.glob("a.bin*"))


@pytest.mark.parametrize("code, tries", [(404, 1), (403, 1), (503, 5), (429, 5)])
def test_answers_that_are_none(server, tmp_path, code, tries):
    server.faults = [server.failing(code)] * 9
    with pytest.raises(DownloadError, match=f"{code}.*name another place with --mirror"):
        get(server, tmp_path)
    assert len(server.asked) == tries


def test_a_server_that_is_not_there(server, tmp_path):
    server.close()
    with pytest.raises(DownloadError, match="a.bin cannot be had from http://127.0.0.1.*0 bytes of it are kept"):
        get(server, tmp_path)


def small_catalogue(monkeypatch, server):
    """Every file of both data sets as a small one on the server, with its members and no known checksum."""
    small = {}
    for dataset, files in CATALOGUE.items():
        small[dataset] = []
        for file in files:
            content = b"man,guy\n"
            if file.members:
                buffer = io.BytesIO()
                archive_of(buffer, [(member.replace("*", "1"), b"[]") for member in file.members])
                content = buffer.getvalue()
            server.files[file.name] = content
            small[dataset].append(file._replace(size=len(content), checksum=None, unpacked=1000))
    monkeypatch.setattr(data_sets, "CATALOGUE", small)


@pytest.mark.parametrize("dataset, check", [("coco_stuff", protocol), ("visual_genome", annotations)])
def test_what_comes_is_what_the_builder_reads(server, tmp_path, monkeypatch, capsys, dataset, check):
    small_catalogue(monkeypatch, server)
    output = tmp_path / "data"
    data_sets.download(dataset, output, server.address, keep=False, stall=5.0)
    assert check.check_layout(str(output)) == output
    assert f"data.source_dir={output}" in capsys.readouterr().out
    number = len(server.asked)
    assert number == len(CATALOGUE[dataset]) and not list((output / ".download").glob("*.zip"))
    # Again: nothing is asked for.
    data_sets.download(dataset, output, server.address, keep=False, stall=5.0)
    assert len(server.asked) == number


def test_a_second_run_at_once_is_refused(server, tmp_path, monkeypatch):
    small_catalogue(monkeypatch, server)
    with data_sets.locks.writing(tmp_path, "download"), pytest.raises(WorkspaceError, match="is in use by"):
        data_sets.download("coco_stuff", tmp_path, server.address, keep=False, stall=5.0)


def test_too_small_a_disk_is_told_before_anything_is_fetched(server, tmp_path, monkeypatch):
    monkeypatch.setattr(data_sets.shutil, "disk_usage", lambda path: types.SimpleNamespace(free=2**30))
    with pytest.raises(
        DownloadError, match=r"annotations_trainval2017.zip needs about 1.2 GiB below .*1.0 GiB are free"
    ):
        data_sets.download("coco_stuff", tmp_path, server.address, keep=False, stall=5.0)
    assert not server.asked


def command(*flags):
    return [sys.executable, "-m", "pipelines.download", *flags]


def test_a_killed_download_goes_on_to_the_same_bytes(server, tmp_path):
    script = (
        "import pathlib, sys; from pipelines.download.transfer import fetch; from pipelines.download.catalogue import "
        "PublishedFile as F; fetch(F('http://x/a.bin'), sys.argv[1], pathlib.Path(sys.argv[2]), 30.0)"
    )
    server.faults = [server.cutting(3 * 2**20, length=len(CONTENT), pause=20.0)]
    child = subprocess.Popen([sys.executable, "-c", script, f"{server.address}/a.bin", str(tmp_path)], cwd=REPOSITORY)
    part = tmp_path / "a.bin.part"
    deadline = time.monotonic() + 60
    while not (part.exists() and part.stat().st_size >= 2**20):
        assert time.monotonic() < deadline and child.poll() is None
        time.sleep(0.05)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    assert get(server, tmp_path).read_bytes() == CONTENT
    assert server.asked[1][1] not in (None, "bytes=0-")


def test_the_command_says_what_it_would_fetch(server, tmp_path):
    output = f"--output={tmp_path / 'data'}"

    def run(*flags):
        done = subprocess.run(command(output, *flags), cwd=REPOSITORY, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr

    code, told, _ = run("--dataset=coco_stuff", "--dry_run", "--mirror=https://mirror.example/coco/")
    assert code == 0 and "https://mirror.example/coco/train2017.zip  19,336,861,798 bytes" in told
    assert told.splitlines()[-1].startswith("19.0 GiB to fetch, and those whose size is not known; at most ")
    code, told, _ = run("--dataset=visual_genome", "--list")
    assert code == 0 and told.split() == [file.address for file in CATALOGUE["visual_genome"]]
    assert not (tmp_path / "data").exists()
    code, _, error = run("--dataset=coco_stuff", f"--mirror={server.address}/")
    assert code == 2 and f"{server.address}/annotations_trainval2017.zip answered 404" in error


def test_the_catalogue_is_whole():
    for files in CATALOGUE.values():
        assert len({file.name for file in files}) == len(files)
        for file in files:
            assert file.unpacked > 0 and bool(file.members) == file.name.endswith(".zip")
            assert not file.checksum or len(file.checksum[1]) == 2 * hashlib.new(file.checksum[0]).digest_size
