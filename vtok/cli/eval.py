"""`vtok eval`: how good a model is at each length, or how good samples of a generator are."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from vtok.cli.cache_latents import Kind, Split
from vtok.cli.decode_options import decode_options
from vtok.cli.eval_options import NATIVE, BatchOption, CacheOption, CountOption, PresetOption, cache_folder, is_stored, parse_size
from vtok.cli.eval_table import record_table, sample_table
from vtok.cli.lengths import parse_lengths
from vtok.cli.loading import Loader
from vtok.cli.measuring import Measuring, check_readable, leave_with_failures
from vtok.cli.options import (
    Device,
    DeviceOption,
    GuidanceOption,
    GuidanceRuleOption,
    JsonOption,
    OverlapOption,
    QuietOption,
    SeedOption,
    SolverOption,
    StepsOption,
)
from vtok.cli.pipes import say
from vtok.cli.report import json_line
from vtok.errors import OutputError, UnsupportedError

if TYPE_CHECKING:
    from vtok.codec.reconstructor import Reconstructor
    from vtok.eval.backbones.base import Backbone
    from vtok.eval.run.features import PictureFeatures
    from vtok.eval.run.metric_names import MetricPlan
    from vtok.eval.run.picture_set import PictureSet
    from vtok.eval.run.reconstructions import Instruments, Reconstructions

_METRICS, _SAMPLE_METRICS = "psnr,ssim", "gfid,kid,is,precision,recall"


def evaluate(
    model: Annotated[
        str | None, typer.Argument(metavar="MODEL", show_default=False, help="A name of `vtok models`, a folder, a hub id.")
    ] = None,
    data: Annotated[
        str | None, typer.Argument(metavar="DATA", show_default=False, help="A folder, tars, parquet tables or .npz of pictures.")
    ] = None,
    metrics: Annotated[
        str | None, typer.Option(metavar="NAMES", show_default=False, help=f"Default: {_METRICS}; of samples {_SAMPLE_METRICS}.")
    ] = None,
    tokens: Annotated[
        str | None, typer.Option(metavar="1,4,..,all", show_default=False, help="Tokens of each string; default: 1, 2, 4, ... and all.")
    ] = None,
    preset: PresetOption = "vtok",
    size: Annotated[
        str | None, typer.Option(metavar=f"PIXELS|{NATIVE}", show_default=False, help="Side of the crops; default: the model's input.")
    ] = None,
    samples: Annotated[
        str | None, typer.Option(metavar="DATA", help="Pictures of a generator, in place of a model.", show_default=False)
    ] = None,
    reference: Annotated[
        str | None, typer.Option(metavar="DATA|STATS.npz", help="What samples are compared with.", show_default=False)
    ] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE.json", help="Write the whole record here.")] = None,
    plot: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Draw the figures against bits per pixel.")] = None,
    beside: Annotated[
        list[Path] | None, typer.Option(metavar="RECORD.json", help="Records of other models or codecs to draw too; may be repeated.")
    ] = None,
    gallery: Annotated[Path | None, typer.Option(metavar="FILE.png", help="Show the worst, median and best pictures.")] = None,
    allow_small_n: Annotated[
        bool, typer.Option("--allow-small-n", help="Give Fréchet distances of fewer pictures than dimensions too.")
    ] = False,
    count: CountOption = None,
    batch: BatchOption = None,
    kind: Annotated[Kind, typer.Option(help="What DATA is; auto looks.")] = Kind.auto,
    split: Annotated[Split, typer.Option(help="All pictures, or the part to train on or to hold out.")] = Split.all,
    overlap: OverlapOption = None,
    steps: StepsOption = None,
    solver: SolverOption = None,
    guidance: GuidanceOption = None,
    guidance_rule: GuidanceRuleOption = None,
    seed: SeedOption = None,
    cache: CacheOption = None,
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure a model on pictures at every length, or a generator's samples against a reference.

    What was computed is kept: the same command goes on where it was cut off. `accelerate launch -m vtok eval ...` shares the work.

    Example: vtok eval photo64 Pictures --metrics psnr,ssim,lpips --tokens 1,4,16,all
    """
    from vtok.eval.protocol.presets import preset as find_preset
    from vtok.eval.run.record_file import read_records

    check_outputs(output, plot, gallery)
    wanted = parse_size(size)
    measuring = Measuring(find_preset(preset), count, batch, kind, split, cache_folder(cache), device, quiet, as_json)
    if samples is not None:
        if model is not None or tokens is not None or gallery is not None or plot is not None:
            raise UnsupportedError("--samples takes no MODEL, --tokens, --plot or --gallery: there is nothing to decode")
        record = _samples(measuring, _names(metrics or _SAMPLE_METRICS), samples, reference, wanted, allow_small_n=allow_small_n)
        if record is not None:
            _finish(record, output, sample_table, as_json=as_json)
        return
    if model is None or data is None:
        raise UnsupportedError("name MODEL and DATA, or --samples and --reference; see vtok eval --help")
    if reference is not None:
        raise UnsupportedError("--reference goes with --samples: reconstructions are compared with their own originals")
    from vtok.codec.reconstructor import Reconstructor

    options = decode_options(steps=steps, solver=solver, guidance=guidance, guidance_rule=guidance_rule, seed=seed)
    coder = Reconstructor(Loader(model, device).model, name=Path(model).name, options=options, overlap=overlap)
    lengths = parse_lengths(tokens, coder.spec)
    pictures = measuring.pictures(data, _input_side(coder) if size is None else wanted)
    run, features = _reconstructions(measuring, coder, pictures, lengths, _names(metrics or _METRICS))
    if gallery is not None and not run.instruments.plan.pairs:
        raise UnsupportedError("--gallery needs a figure of single pictures, psnr or lpips; none was asked for")
    others = [record for file in beside or [] for record in read_records(file)]
    measuring.do([*features.values(), run], pictures)
    if not measuring.processes.first:
        return
    record = _record(measuring, run, features, allow_small_n=allow_small_n)
    if plot is not None:
        _plot(plot, [record, *others])
    if gallery is not None:
        _gallery(gallery, run, record)
    _finish(record, output, record_table, as_json=as_json)


def _reconstructions(
    measuring: Measuring, coder: "Reconstructor", pictures: "PictureSet", lengths: Sequence[int], names: Sequence[str]
) -> "tuple[Reconstructions, dict[str, PictureFeatures]]":
    """What is to be done: features of the originals, and the figures of what the model makes of them."""
    from vtok.eval.run.metric_names import plan_metrics
    from vtok.eval.run.reconstructions import Reconstructions
    from vtok.eval.run.set_figures import with_kernel_distances

    plan = plan_metrics(names, of="reconstructions")
    backbones = {name: measuring.backbone(name) for name in plan.backbones}
    plan = with_kernel_distances(plan, len(pictures), lambda name, output: backbones[name].dims[output])
    instruments = _instruments(plan, backbones, pictures, measuring)
    run = Reconstructions(pictures, coder, lengths, measuring.preset, instruments, measuring.cache)
    return run, measuring.features(pictures, backbones)


def _instruments(plan: "MetricPlan", backbones: "Mapping[str, Backbone]", pictures: "PictureSet", measuring: Measuring) -> "Instruments":
    from vtok.eval.downstream.classification import Recognition, class_positions
    from vtok.eval.pairs.measures import Measures
    from vtok.eval.run.reconstructions import Instruments

    measures = Measures(plan.pairs, device=measuring.torch_device) if plan.pairs else None
    recognition = {}
    for name in plan.classifiers:
        wants_labels = any(wanted.kind == "top1" and wanted.backbone == name for wanted in plan.recognition)
        positions = class_positions(pictures.source) if wants_labels else None
        recognition[name] = Recognition(backbones.get(name) or measuring.backbone(name), positions)
    return Instruments(plan, measures, backbones, recognition, measuring.torch_device)


def _record(
    measuring: Measuring, run: "Reconstructions", features: "Mapping[str, PictureFeatures]", *, allow_small_n: bool
) -> dict[str, Any]:
    from vtok.eval.run.features import check_equal_sizes
    from vtok.eval.run.record import reconstruction_record
    from vtok.eval.run.references import PicturesReference
    from vtok.eval.run.set_figures import SetFigures

    infos = run.infos()
    check_readable(infos, run.pictures.name)
    if features:
        check_equal_sizes(infos, run.pictures.name)
    return reconstruction_record(run, SetFigures(PicturesReference(features), measuring.preset, allow_small_n))


def _samples(
    measuring: Measuring, names: Sequence[str], data: str, reference: str | None, size: int | None, *, allow_small_n: bool
) -> dict[str, Any] | None:
    """The record of a generator's samples, in the first of the processes."""
    from vtok.eval.run.features import check_equal_sizes
    from vtok.eval.run.metric_names import plan_metrics
    from vtok.eval.run.record import numerics, set_facts
    from vtok.eval.run.references import PicturesReference, Reference, StoredReference
    from vtok.eval.run.set_figures import SetFigures, with_kernel_distances

    plan, pictures = plan_metrics(names, of="samples"), measuring.pictures(data, size)
    backbones = {name: measuring.backbone(name) for name in plan.backbones}
    plan = with_kernel_distances(plan, len(pictures), lambda name, output: backbones[name].dims[output])
    against: Reference | None = None
    facts: dict[str, Any] | None = None
    if reference is not None and is_stored(reference):
        against = stored = StoredReference(Path(reference).expanduser())
        for backbone in backbones.values():
            stored.check(backbone.describe(), measuring.preset.to_json())
        facts = stored.describe()
    own = measuring.features(pictures, backbones)
    measuring.do(own.values(), pictures)
    infos = next(iter(own.values())).infos()
    check_readable(infos, pictures.name)
    side = max(check_equal_sizes(infos, pictures.name))
    if reference is not None and against is None:
        others = replace(measuring, count=None).pictures(reference, side)
        theirs = measuring.features(others, backbones)
        measuring.do(theirs.values(), others)
        against = PicturesReference(theirs)
        facts = {"name": others.name, "crop": others.crop, "size": side} | set_facts(next(iter(theirs.values())).infos())
    if not measuring.processes.first:
        return None
    figures = SetFigures(against, measuring.preset, allow_small_n)
    metrics = figures.compute(plan.statistics, lambda backbone, output: own[backbone].rows(output).compute())
    networks = {"backbones": {name: backbone.describe() for name, backbone in backbones.items()}}
    crop = None if size is None else measuring.preset.crop
    return {
        "vtok_eval": 1,
        "subject": {"kind": "samples", "name": pictures.name},
        "data": {"name": pictures.name, "crop": crop, "size": size} | set_facts(infos),
        "reference": facts,
        "protocol": {"preset": measuring.preset.to_json()} | networks | numerics(measuring.torch_device),
        "rows": [{"metrics": metrics}],
    }


def _input_side(coder: "Reconstructor") -> int:
    height, width = coder.spec.input_size
    if height != width:
        raise UnsupportedError(f"{coder.name} takes pictures of {width} x {height} pixels, crops are squares; say --size {NATIVE}")
    return height


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def check_outputs(output: Path | None, *pictures: Path | None) -> None:
    """Refuse what cannot be written before the work is done."""
    from vtok.cli.jobs import Job, Jobs, check_folders
    from vtok.data.pictures import check_writable
    from vtok.eval.codes.codebook_sheet import check_drawable

    if output is not None and output.suffix.lower() != ".json":
        raise OutputError(f"{output}: the record is a .json file; choose such a name")
    for file in pictures:
        if file is not None:
            check_writable(file)
            check_drawable()
    for file in (output, *pictures):
        if file is not None:
            check_folders(Jobs((Job(None, file),), several=False), str(file))


def _finish(record: Mapping[str, Any], output: Path | None, table: Callable[[Mapping[str, Any]], list[str]], *, as_json: bool) -> None:
    """Write and show a record; leave with exit code 3 where pictures could not be read."""
    from vtok.data.atomic import write_bytes
    from vtok.eval.run.record_file import to_bytes

    if output is not None:
        write_bytes(output, to_bytes(record))
    if as_json:
        shared = {key: value for key, value in record.items() if key not in ("rows", "pictures")}
        for row in record["rows"]:
            say(json_line(row | shared))
    else:
        say("\n".join(table(record)))
    leave_with_failures(record["data"])


def _plot(file: Path, records: Sequence[Mapping[str, Any]]) -> None:
    from vtok.data.pictures import write_picture
    from vtok.eval.curves.plot import draw

    own = records[0]
    x: Literal["bpp", "tokens"] = "tokens" if own["rows"][0]["bpp"] is None else "bpp"
    write_picture(file, draw(records, metrics=None, x=x, title=f"{own['data']['pictures']:,} pictures of {own['data']['name']}"))


def _gallery(file: Path, run: "Reconstructions", record: Mapping[str, Any]) -> None:
    """Worst, median and best at the full length, by LPIPS where it was asked for."""
    import numpy as np

    from vtok.data.pictures import write_picture
    from vtok.eval.pairs.measures import TABLE
    from vtok.eval.run.gallery import chosen, draw, show

    pairs = run.instruments.plan.pairs
    name = "lpips" if "lpips" in pairs else pairs[0]
    values = np.array(record["pictures"]["values"][name][str(run.lengths[-1])])
    places = chosen(values, higher_is_better=TABLE[name].higher_is_better)
    rows = [show(run, kind, place, f"{TABLE[name].label} {values[place]:{TABLE[name].form}}") for kind, place in places]
    write_picture(file, draw(rows, ["original", *(f"{n} token{'s' * (n != 1)}" for n in run.lengths)]))
