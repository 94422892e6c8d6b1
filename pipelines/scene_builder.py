"""What the builders of scenes share: records made in this process, or on Apache Beam where that is asked for."""

import abc
import functools
import json
import pathlib
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Callable

import tensorflow_datasets as tfds

from pipelines import on_beam, photographs
from pipelines.beam_options import BeamError
from rgan_tf.errors import UserError


class SceneBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """A builder that knows whether its records are made on Beam, and of which transforms or generators will do."""

    on_beam = False

    def _download_and_prepare(self, dl_manager, download_config):
        self.on_beam = download_config.beam_options is not None
        if not self.on_beam:
            super()._download_and_prepare(dl_manager, download_config)
            return
        try:
            super()._download_and_prepare(dl_manager, download_config)
        except UserError:
            raise
        except Exception as error:
            # A machine's error may come as the text of its trace.
            last = str(error).strip().splitlines()[-1]
            runner = download_config.beam_options.get_all_options()["runner"]
            raise BeamError(f"Apache Beam ({runner}) failed: {last}") from error
        self._take_back()
        shutil.rmtree(self._beam_folder, ignore_errors=True)

    def _take_back(self):
        """Called when Beam has made all records."""

    @property
    def _beam_folder(self) -> pathlib.Path:
        """What the machines are given and give back beside records: beside the folder of those."""
        return pathlib.Path(self.data_dir).parent / "on_beam"


class PhotographBuilder(SceneBuilder, skip_registration=True):
    """A builder of photographs' scenes, which counts what is wrong with them."""

    @abc.abstractmethod
    def _note_problems(self, split: str, problems: Counter) -> None:
        """Puts what was wrong with a split's photographs into the metadata."""

    def _photographs(
        self,
        split: str,
        scenes: Sequence[Any],
        examine: Callable[[Any], photographs.Finding],
        to_record: Callable[[Any, photographs.Finding], dict],
        sources: str,
    ):
        """What makes a split's records; the arguments are those of `photographs.examples`.

        Scenes give themselves as a line, by `to_json`, and are made of one by `from_json`.
        """
        if not self.on_beam:
            return self._generate_examples(split, scenes, examine, to_record, sources)
        lines = (scene.to_json() for scene in scenes)
        parts = on_beam.write_parts(lines, len(scenes), self._beam_folder / split)
        stride = photographs.key_stride(len(scenes))
        make = functools.partial(_make_part, type(scenes[0]).from_json, examine, to_record, stride)
        return on_beam.records_of(parts, make, self._problems_file(split))

    def _generate_examples(self, split, scenes, examine, to_record, sources) -> Iterator[tuple[int, dict]]:
        problems: Counter = Counter()
        journal = photographs.journal(self, split, sources)
        yield from photographs.examples(split, scenes, examine, to_record, problems, journal)
        self._note_problems(split, problems)

    def _problems_file(self, split: str) -> pathlib.Path:
        return self._beam_folder / f"{split}.problems.json"

    def _take_back(self):
        for split in self.info.splits:
            self._note_problems(split, Counter(json.loads(self._problems_file(split).read_text(encoding="utf-8"))))


def _make_part(from_json, examine, to_record, stride, part):
    """Runs on Beam's machines: the scenes of a file, examined and made records."""
    for index, line in on_beam.read_part(part):
        scene = from_json(line)
        finding = examine(scene)
        example = (index * stride, to_record(scene, finding)) if finding.usable else None
        yield on_beam.Made(example, finding.problems)
