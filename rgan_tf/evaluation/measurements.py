"""Figures and their names, which carry the protocol under which they were measured."""

from typing import NamedTuple, Optional

from rgan_tf.evaluation.metrics.averages import Score

# The policy of pictures that somebody else drew.
PICTURES = "pictures"


class Setting(NamedTuple):
    """How a split is drawn: see `SplitDrawing`; `policy` is `PICTURES` for pictures from a folder."""

    split: str = "test"
    boxes: str = "predicted"
    samples: int = 1
    policy: str = "learned"
    seed: int = 0


class Measurement(NamedTuple):
    """One figure.

    metric: short, such as "fid". name: with its protocol, such as "fid.test128.predicted_boxes.in_domain.none64".
    value, deviation: None where it has none. notes: cautions and what else belongs beside it; `interval` is a 95
    percent bootstrap interval.
    """

    metric: str
    name: str
    value: float
    deviation: Optional[float]
    notes: dict


class Namer:
    """Makes measurements of one drawn split."""

    def __init__(self, setting: Setting, scenes: int):
        """Takes how it was drawn, and its number of scenes."""
        self._setting, self._scenes = setting, scenes

    def averaged(self, metric: str, protocol: str, score: Score, drawn: bool = True, caution: str = "") -> Measurement:
        """A mean over entries of scenes; the other arguments are those of `measured`."""
        notes = {"scene_mean": score.scene_mean, "count": score.count, "scenes": score.scenes, "caution": caution}
        return self.measured(metric, protocol, score.mean, None, {**notes, **interval_note(score.interval)}, drawn)

    def measured(
        self,
        metric: str,
        protocol: str,
        value: float,
        deviation: Optional[float],
        notes: Optional[dict] = None,
        drawn: bool = True,
    ) -> Measurement:
        """Names a figure.

        Args:
          metric: short.
          protocol: what belongs into its name beside the setting.
          value: the figure.
          deviation: None where it has none.
          notes: empty ones are left out.
          drawn: whether it depends on how scenes were drawn.
        """
        setting, count = self._setting, f"{self._setting.split}{self._scenes}"
        parts = [metric, count]
        if drawn:
            parts[1] += f"x{setting.samples}" if setting.samples > 1 else ""
            parts.append(f"{setting.boxes}_boxes")
            if setting.policy not in ("learned", PICTURES):
                parts.append(f"{setting.policy}_retrieval")
        name = ".".join(part for part in [*parts, protocol] if part)
        notes = {key: note for key, note in (notes or {}).items() if note != ""}
        return Measurement(metric, name, float(value), None if deviation is None else float(deviation), notes)


def interval_note(interval: Optional[tuple[float, float]]) -> dict:
    """A bootstrap interval as a note; nothing where there is none."""
    return {} if interval is None else {"interval": list(interval)}
