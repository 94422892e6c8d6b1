"""Archives unpacked without trusting what their members are called or how large they say they are."""

import fnmatch
import os
import pathlib
import shutil
import zipfile

from pipelines.download.catalogue import PublishedFile
from pipelines.download.transfer import DownloadError
from rgan_tf.progress import progress_bar

_BLOCK = 2**20
_MOST_MEMBERS = 10**6


def unpack(file: PublishedFile, archive: pathlib.Path, target: pathlib.Path) -> None:
    """Takes the wanted members out of an archive and moves them to their place when all are there.

    The emptied folder NAME.unpacked stays beside the archive and says that all is there, until `forget` takes it away.

    A member's name must be one of the patterns that the catalogue has; nothing else is written, and nothing that is
    there is written over.

    Args:
      file: of the catalogue.
      archive: the fetched file; its own folder is worked in.
      target: the data set's folder.

    Raises:
      DownloadError: the archive is damaged, or not what is expected, or its place is taken.
    """
    done = archive.with_name(f"{archive.name}.unpacked")
    if not done.exists():
        unfinished = archive.with_name(f"{archive.name}.unpacking")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        try:
            with zipfile.ZipFile(archive) as content:
                for member in _wanted(file, archive, content):
                    _write(content, member, unfinished / member.filename)
        except (zipfile.BadZipFile, EOFError, OSError, NotImplementedError, RuntimeError) as error:
            raise DownloadError(
                f"{archive} cannot be unpacked: {' '.join(str(error).split())}; delete it and run the command again, "
                "or make room where the disk is full."
            ) from error
        unfinished.rename(done)
    _move(done, target / file.folder)


def forget(archive: pathlib.Path) -> None:
    """Removes what `unpack` left of an archive's unpacking."""
    shutil.rmtree(archive.with_name(f"{archive.name}.unpacked"), ignore_errors=True)


def _wanted(file: PublishedFile, archive: pathlib.Path, content: zipfile.ZipFile):
    """The members to take, with a bar; checked as a whole before the first is written."""
    members = [member for member in content.infolist() if _matches(member, file.members)]
    names = {member.filename for member in members}
    if len(names) != len(members) or len(members) > _MOST_MEMBERS:
        raise DownloadError(f"{archive} names a file twice, or has too many; it is not the archive as published.")
    missing = [pattern for pattern in file.members if not fnmatch.filter(names, pattern)]
    if missing:
        raise DownloadError(f"{archive} has no {', '.join(missing)}; it is not the archive as published.")
    total = sum(member.file_size for member in members)
    if total > file.unpacked:
        raise DownloadError(
            f"{archive} comes to {total:,} bytes, and at most {file.unpacked:,} are expected; it is not the archive as "
            "published."
        )
    return progress_bar(members, desc=f"unpacking {archive.name}", unit="file")


def _matches(member: zipfile.ZipInfo, patterns: tuple[str, ...]) -> bool:
    """Whether a member is a plain file by one of the names that are wanted, each part of it a name of its own."""
    parts = member.filename.split("/")
    unsafe = "\\" in member.filename or "\0" in member.filename or any(part in ("", ".", "..") for part in parts)
    # The upper half of the attributes is the file's kind on Unix: 0, or 8 for a plain file.
    kind = member.external_attr >> 28
    if unsafe or kind not in (0, 8):
        return False
    return any(
        len(parts) == pattern.count("/") + 1 and fnmatch.fnmatchcase(member.filename, pattern) for pattern in patterns
    )


def _write(content: zipfile.ZipFile, member: zipfile.ZipInfo, path: pathlib.Path) -> None:
    """Writes no more than the member's stated size; zipfile compares its checksum."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with content.open(member) as source, open(path, "xb") as out:
        shutil.copyfileobj(source, out, _BLOCK)


def _move(done: pathlib.Path, target: pathlib.Path) -> None:
    """Moves files and folders to their place; what an earlier run moved is not in `done` any more."""
    for path in sorted(done.iterdir()):
        place = target / path.name
        if path.is_dir() and path.name == "annotations":
            _move(path, place)
            continue
        if os.path.lexists(place):
            raise DownloadError(f"{place} is there already; move it away and run the command again.")
        target.mkdir(parents=True, exist_ok=True)
        path.rename(place)
