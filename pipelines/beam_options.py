"""Which runner of Apache Beam makes a data set, from what is written on the command line."""

import difflib
from typing import TYPE_CHECKING, Optional

from rgan_tf.errors import UserError

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions


class BeamError(UserError):
    """Apache Beam is not there, was not told enough, or failed."""


def parse_beam_options(text: str) -> Optional["PipelineOptions"]:
    """Options of a pipeline from `name=value,name=value`, as tensorflow-datasets' own command takes them.

    Args:
      text: a name alone is a switch; an empty text asks for no Beam. `runner` must be among them.

    Raises:
      BeamError: Beam is not installed, no runner is named, or an option is not known to it (which it would ignore).
    """
    if not text:
        return None
    try:
        from apache_beam.options.pipeline_options import PipelineOptions
    except ImportError as error:
        raise BeamError(
            f"--beam_pipeline_options asks for Apache Beam, which cannot be imported ({error}); install rgan-tf[beam], "
            "or leave the flag out."
        ) from error
    given = [option.strip() for option in text.split(",") if option.strip()]
    names = [option.split("=")[0] for option in given]
    if "runner" not in names:
        raise BeamError(f"--beam_pipeline_options={text} names no runner; give one, as in runner=DirectRunner.")
    known = PipelineOptions(flags=[]).get_all_options()
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            meant = f", did you mean {near[0]}?" if near else "."
            raise BeamError(f"--beam_pipeline_options: Apache Beam knows no option {name!r}{meant}")
    options = PipelineOptions(flags=[f"--{option}" for option in given])
    try:
        options.get_all_options()
    except SystemExit as error:
        # Beam's parser has said on stderr which value it cannot read, and would end the process.
        raise BeamError(
            f"--beam_pipeline_options={text} has a value that Apache Beam cannot read; see above."
        ) from error
    return options
