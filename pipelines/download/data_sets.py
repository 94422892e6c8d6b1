"""A data set's files fetched and unpacked, one after another."""

import filecmp
import pathlib
import shutil

from pipelines.download.archives import forget, unpack
from pipelines.download.catalogue import CATALOGUE, PublishedFile
from pipelines.download.transfer import DownloadError, fetch
from rgan_tf import locks

_WORK = ".download"


def address_of(file: PublishedFile, mirror: str) -> str:
    """Where a file is fetched from: as it is published, or by its name below a mirror."""
    return f"{mirror.rstrip('/')}/{file.name}" if mirror else file.address


def download(dataset: str, output: pathlib.Path, mirror: str, keep: bool, stall: float, wait: float = 1.0) -> None:
    """Fetches and unpacks what is not there yet.

    Raises:
      DownloadError: a file cannot be had, is not what is expected, or there is no room for it.
      WorkspaceError: another run works on the same folder.
    """
    work = output / _WORK
    work.mkdir(parents=True, exist_ok=True)
    with locks.writing(output, "download"):
        for file in CATALOGUE[dataset]:
            done = work / f"{file.name}.done"
            if done.exists():
                continue
            _check_room(file, work)
            whole = fetch(file, address_of(file, mirror), work, stall, wait)
            if file.members:
                unpack(file, whole, output)
            else:
                _copy(whole, output / file.folder / file.name)
            done.touch()
            forget(whole)
            if not keep:
                whole.unlink()
    print(f"{output} has the files of {dataset}: data.source_dir={output}")


def _copy(whole: pathlib.Path, place: pathlib.Path) -> None:
    """Puts a file that is no archive in its place; one that is there must be the same."""
    if place.exists():
        if not filecmp.cmp(whole, place, shallow=False):
            raise DownloadError(f"{place} is there already; move it away and run the command again.")
        return
    beside = place.with_name(f"{place.name}.partial")
    shutil.copyfile(whole, beside)
    beside.rename(place)


def _check_room(file: PublishedFile, work: pathlib.Path) -> None:
    part = work / f"{file.name}.part"
    there = part.stat().st_size if part.exists() else 0
    # The most that unpacking may take is far more than it does: half of that is asked for.
    needed = max((file.size or 0) - there, 0) * (0 if (work / file.name).exists() else 1) + file.unpacked // 2
    free = shutil.disk_usage(work).free
    if needed > free:
        raise DownloadError(
            f"{file.name} needs about {needed / 2**30:.1f} GiB below {work.parent}, and {free / 2**30:.1f} GiB are "
            "free; make room, or name another folder with --output."
        )


def plan(dataset: str, mirror: str) -> str:
    """What would be fetched: address, size and most disk, a line each."""
    lines, total, room = [], 0, 0
    for file in CATALOGUE[dataset]:
        size = f"{file.size:,} bytes" if file.size is not None else "size not known"
        lines.append(f"{address_of(file, mirror)}  {size}, unpacked at most {file.unpacked / 2**30:.1f} GiB")
        total, room = total + (file.size or 0), room + file.unpacked
    known = "" if all(file.size is not None for file in CATALOGUE[dataset]) else ", and those whose size is not known"
    lines.append(f"{total / 2**30:.1f} GiB to fetch{known}; at most {room / 2**30:.0f} GiB of disk when unpacked.")
    return "\n".join(lines)
