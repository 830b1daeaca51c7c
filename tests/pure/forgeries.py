"""Ways to forge a finished run's folder, and what it takes to have them go unnoticed by its manifest."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path

from finished_run import BETTER, DECIDED, DEVICE, GIVEN, HEAT, SUMMARY, WORSE, decided

from tilewright import manifest
from tilewright.evidence import Evidence
from tilewright.judge.speed.samples import Samples
from tilewright.serial import to_json
from tilewright.stages.race import gain_of


def reseal(folder: Path) -> None:
    """Write the manifest anew, as somebody would who wants a change to go unnoticed."""
    (folder / manifest.NAME).write_text(manifest.text_of(manifest.survey(folder)))


def rewrite(path: Path, change: Callable[[dict[str, object]], None], line: int | None = None) -> None:
    """Change a JSON file, or one line of a file of them."""
    lines = path.read_text().splitlines() if line is not None else [path.read_text()]
    value = json.loads(lines[line or 0])
    change(value)
    lines[line or 0] = json.dumps(value)
    path.write_text("\n".join(lines) + ("\n" if line is not None else ""))


def raise_evidence(folder: Path) -> None:
    """The machine had no GPU after all, so nothing can have been measured."""
    rewrite(folder / "machines.jsonl", lambda machine: machine.update(device=""), 0)


def measured_elsewhere(folder: Path) -> None:
    for path in folder.glob("*.jsonl"):
        text = path.read_text().replace("H100 SXM", "A100 SXM 80GB").replace(DEVICE, "A100 SXM 80GB")
        path.write_text(text)


def faster_samples(folder: Path) -> None:
    path = folder / "decisions.jsonl"
    path.write_text(path.read_text().replace("16.0", "12.0"))


def forged_verdict(folder: Path) -> None:
    """Samples, verdict and summary fit one another; only the verdict is not what its blocks give."""
    faster = decided(GIVEN.id, BETTER.id, (20.0, 12.0)).speed
    assert DECIDED.speed is not None and faster is not None
    forged = dataclasses.replace(DECIDED, speed=dataclasses.replace(DECIDED.speed, ratio=faster.ratio))
    (folder / "decisions.jsonl").write_text(to_json(forged, indent=None) + "\n")
    gain = gain_of(forged, Evidence.MEASURED)
    (folder / "summary.json").write_text(to_json(dataclasses.replace(SUMMARY, gain=gain)))


def blocks_taken_out(folder: Path) -> None:
    """As somebody would who leaves out those that do not fit."""
    assert DECIDED.speed is not None
    speed = dataclasses.replace(DECIDED.speed, pairs=DECIDED.speed.pairs[1:])
    forged = dataclasses.replace(DECIDED, speed=speed)
    (folder / "decisions.jsonl").write_text(to_json(forged, indent=None) + "\n")


def no_difference(folder: Path) -> None:
    """An honest record of two sides that do not differ, claimed as a speedup."""
    equal = decided(GIVEN.id, BETTER.id, (20.0, 20.0))
    (folder / "decisions.jsonl").write_text(to_json(equal, indent=None) + "\n")
    gain = gain_of(equal, Evidence.MEASURED)
    assert gain is not None and not gain.shown
    (folder / "summary.json").write_text(to_json(dataclasses.replace(SUMMARY, gain=gain)))


def decided_a_stranger(folder: Path) -> None:
    path = folder / "decisions.jsonl"
    path.write_text(path.read_text().replace(BETTER.id, "0123456789ab"))


def swap_best(folder: Path) -> None:
    (folder / "best.py").write_text(WORSE.source)


def swap_candidate(folder: Path) -> None:
    (folder / "candidates" / f"{BETTER.id}.py").write_text(BETTER.source + "# more\n")


def drop_parent(folder: Path) -> None:
    path = folder / "log.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))


def past_budget(folder: Path) -> None:
    def change(tried: dict[str, dict[str, list[dict[str, float]]]]) -> None:
        tried["verdict"]["errors"][0]["norm_error"] = 1.0

    rewrite(folder / "log.jsonl", change, 1)  # type: ignore[arg-type]


def not_allowed(folder: Path) -> None:
    def change(tried: dict[str, dict[str, list[dict[str, str]]]]) -> None:
        tried["verdict"]["findings"] = [{"kind": "library", "what": "torch.mm does the work"}]

    rewrite(folder / "log.jsonl", change, 1)  # type: ignore[arg-type]


def screened_a_stranger(folder: Path) -> None:
    def change(screening: dict[str, list[dict[str, str]]]) -> None:
        screening["candidates"][0]["label"] = "0123456789ab"

    rewrite(folder / "screenings.jsonl", change, 0)  # type: ignore[arg-type]


def screened_in_no_time(folder: Path) -> None:
    def change(screening: dict[str, list[dict[str, list[float]]]]) -> None:
        screening["candidates"][0]["device_us"] = [0.0]

    rewrite(folder / "screenings.jsonl", change, 0)  # type: ignore[arg-type]


def without_seeds(folder: Path) -> None:
    def change(tried: dict[str, dict[str, list[int]]]) -> None:
        tried["verdict"]["seeds"] = []

    rewrite(folder / "log.jsonl", change, 1)  # type: ignore[arg-type]


def better_ratio(folder: Path) -> None:
    def change(summary: dict[str, dict[str, dict[str, float]]]) -> None:
        summary["gain"]["ratio"]["value"] = 2.0

    rewrite(folder / "summary.json", change)  # type: ignore[arg-type]


def better_claim(folder: Path) -> None:
    rewrite(folder / "summary.json", lambda summary: summary.update(evidence="compiled"))


def other_problem(folder: Path) -> None:
    path = folder / "problem.py"
    path.write_text(path.read_text().replace("x * self.weight + self.bias", "x * 0 + self.bias"))


def timed_a_stranger(folder: Path) -> None:
    path = folder / "timings.jsonl"
    path.write_text(path.read_text().replace(GIVEN.id, "0123456789ab"))


def negative_samples(folder: Path) -> None:
    path = folder / "timings.jsonl"
    path.write_text(path.read_text().replace("16.0", "-16.0"))


def no_raw_samples(folder: Path) -> None:
    (folder / "decisions.jsonl").unlink()


def empty_samples(folder: Path) -> None:
    sides = tuple(dataclasses.replace(side, cold=Samples((), ())) for side in HEAT.sides)
    (folder / "timings.jsonl").write_text(to_json(dataclasses.replace(HEAT, sides=sides), indent=None) + "\n")


def empty_blocks(folder: Path) -> None:
    path = folder / "decisions.jsonl"
    path.write_text(re.sub(r'"(pairs|noise_pairs)": ?\[.*?\}\]', r'"\1": []', path.read_text()))


def neither_verdict_nor_reason(folder: Path) -> None:
    path = folder / "decisions.jsonl"
    path.write_text(path.read_text().replace("it did not end", ""))
