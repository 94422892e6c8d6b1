"""Lists inside large JSON files, item by item: what is in memory is one item, not the file."""

import contextlib
import pathlib
from collections.abc import Iterator
from typing import Any

import ijson
from tqdm.utils import CallbackIOWrapper

from pipelines.records import SourceError
from rgan_tf.progress import progress_bar

_CHUNK = 2**20


def items(path: pathlib.Path, key: str = "", required: bool = True) -> Iterator[Any]:
    """Yields the items of a list, while a bar shows how far the file is read.

    Args:
      path: a JSON file.
      key: the list's name where the file is one object; empty where the file is the list itself.
      required: whether it must be there.

    Raises:
      SourceError: the file cannot be read, is no JSON, or has no such list though it must.
    """
    found = False
    with _readable(path), path.open("rb") as file:
        with progress_bar(
            total=path.stat().st_size, desc=f"{path.name} {key}".strip(), unit="B", unit_scale=True
        ) as bar:
            counted = CallbackIOWrapper(bar.update, file, "read")
            for item in ijson.items(counted, f"{key}.item" if key else "item", use_float=True, buf_size=_CHUNK):
                found = True
                yield item
        # What is no list has no items either.
        file.seek(0)
        if required and not found and not _opens_list(file, key):
            what = f"has no list {key!r}" if key else "is no list"
            raise SourceError(f"{path} {what}; is it the file as it was published?")


@contextlib.contextmanager
def _readable(path: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except (ijson.JSONError, UnicodeDecodeError) as error:
        raise SourceError(f"{path} is not readable as JSON: {' '.join(str(error).split())}") from error
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error}") from error


def _opens_list(file, key: str) -> bool:
    """Whether the value of `key`, or the whole file, is a list."""
    for prefix, event, _ in ijson.parse(file, buf_size=_CHUNK):
        if prefix == key:
            return event == "start_array"
    return False
