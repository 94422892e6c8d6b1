"""Packs an exported model for TF Hub: python -m export.hub --model=DIR/N --output=FILE.tar.gz.

TF Hub takes a gzipped tar archive with the SavedModel at its root, and a documentation page in Markdown with a few
fields of metadata. The page is written beside the archive; it goes on from the model card.
"""

import contextlib
import gzip
import json
import os
import pathlib
import re
import tarfile

from absl import flags
from tqdm.utils import CallbackIOWrapper

from rgan_tf import commands  # isort: split

from rgan_tf import export_files
from rgan_tf.errors import UserError
from rgan_tf.progress import progress_bar

_ENDING = ".tar.gz"
# Of every member, so that the same model gives the same archive.
_TIME = 0

_PAGE = """# Module {handle}

Draws pictures from scene graphs with image patches retrieved to fit each other.

<!-- asset-path: {asset_path} -->
<!-- task: image-generator -->
<!-- fine-tunable: false -->
<!-- format: saved_model_2 -->
<!-- network-architecture: retrievegan -->

## Overview

A scene graph goes in: names of objects, and relations between them. For each object a patch of a real picture is
retrieved from the bank that the model carries, the patches chosen so that they fit each other; a picture is synthesized
from them.

## Use

```python
import tensorflow as tf
import tensorflow_hub as hub

model = hub.load("HANDLE OR PATH")
answer = model.generate(
    tf.constant([{objects}]),
    tf.constant([[0]]),
    tf.constant([[{predicate}]]),
    tf.constant([[1]]),
    seed=tf.constant([3], tf.int64),
)
tf.io.write_file("picture.png", answer["png_bytes"][0])
```

Scenes come in batches. `generate(object_names, subjects, predicates, objects_of, seed)` takes names [B, n], and for
each relation the index of its subject, its predicate and the index of its object, [B, t]; `boxes` [B, n, 4] and
`patch_ids` [B, n] may be given too, -1 where they are left open. Shorter scenes of a batch are padded with "" and -1.
It gives `image` and `png_bytes`, `boxes`, and of every patch `patch_ids`, `patch_source`, `patch_license` and
`patch_png_bytes`.
`retrieve` gives each object's candidates with their scores, `synthesize(object_names, boxes, patch_ids)` the picture of
patches that you chose. `.signatures` has the same with static sizes.

{card}"""


def pack(model, output, handle: str = "", asset_path: str = "") -> pathlib.Path:
    """Writes the archive, and its page beside it; returns the page's path.

    Args:
      model: an exported version, `DIR/N`.
      output: `FILE.tar.gz`.
      handle: publisher/model/version; by default rgan_tf, the name of DIR, and N.
      asset_path: where the archive will be found; by default its file name.

    Raises:
      DamageError: a file of the model is damaged.
      UserError: the model is none of ours, or the output is not named as an archive or cannot be written.
    """
    model, output = pathlib.Path(model), pathlib.Path(output)
    if not output.name.endswith(_ENDING):
        raise UserError(f"--output={output} must end in {_ENDING}, by which TF Hub knows an archive.")
    # It is read as a whole, and goes out into the world.
    export_files.check(model, everything=True)
    try:
        card = (model / "assets.extra" / "model_card.md").read_text(encoding="utf-8")
        files = [model / "assets" / f"{kind}.txt" for kind in ("objects", "predicates")]
        names = [file.read_text(encoding="utf-8").splitlines() for file in files]
        example = {"objects": json.dumps([names[0][1], names[0][-1]]), "predicate": json.dumps(names[1][1])}
    except OSError as error:
        raise UserError(f"{model} is no model that rgan_tf exported ({error.strerror}: {error.filename}).") from error
    except (UnicodeDecodeError, IndexError) as error:
        raise UserError(f"{model} has a card or names that are damaged ({error}); export it again.") from error
    page = _PAGE.format(
        handle=handle or f"rgan_tf/{model.resolve().parent.name}/{model.resolve().name}",
        asset_path=asset_path or output.name,
        **example,
        # Its headings go one level down, under the page's own.
        card=re.sub(r"(?m)^(#+ )", r"#\1", card),
    )
    beside = output.with_name(f".{output.name}.partial")
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        _write_archive(model, beside)
        os.replace(beside, output)
        written = output.with_name(output.name[: -len(_ENDING)] + ".md")
        written.write_text(page, encoding="utf-8")
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UserError(f"The archive cannot be written to {output}: {error.strerror}.") from error
    return written


def _write_archive(model: pathlib.Path, output: pathlib.Path) -> None:
    """Everything of the model in order of its name, owned by nobody; the same bytes for the same model."""
    paths = sorted(model.rglob("*"))
    total = sum(path.stat().st_size for path in paths if path.is_file())
    with contextlib.ExitStack() as opened:
        raw = opened.enter_context(open(output, "wb"))
        packed = opened.enter_context(gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=_TIME))
        archive = opened.enter_context(tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT))
        bar = opened.enter_context(progress_bar(total=total, desc="packing", unit="B", unit_scale=True))
        for path in paths:
            member = tarfile.TarInfo(path.relative_to(model).as_posix())
            member.mtime = _TIME
            if path.is_dir():
                # TF Hub makes no folder that is not a member itself.
                member.type, member.mode = tarfile.DIRTYPE, 0o755
                archive.addfile(member)
                continue
            member.size, member.mode = path.stat().st_size, 0o644
            with open(path, "rb") as content:
                archive.addfile(member, CallbackIOWrapper(bar.update, content, "read"))


def main() -> None:
    """Packs, and says where."""
    given = flags.FLAGS
    page = pack(given.model, given.output, given.handle, given.asset_path)
    print(f"{given.output} with its page {page}")


if __name__ == "__main__":
    flags.DEFINE_string("model", None, "An exported version, DIR/N.", required=True)
    flags.DEFINE_string("output", None, "The archive to write, FILE.tar.gz.", required=True)
    flags.DEFINE_string("handle", "", "publisher/model/version on TF Hub; by default rgan_tf/NAME/N.")
    flags.DEFINE_string("asset_path", "", "Address at which the archive will be; by default its file name.")
    commands.run(main)
