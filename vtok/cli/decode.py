"""`vtok decode`: .vtok files to pictures."""

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtok.cli.decode_options import decode_options, option_facts
from vtok.cli.facts import TOKEN_EXTENSIONS, in_words, job_facts, read_tokens, token_facts
from vtok.cli.jobs import Job, Jobs, check_folders, check_unused, plan_jobs
from vtok.cli.loading import Loader
from vtok.cli.options import (
    Device,
    DeviceOption,
    GuidanceOption,
    GuidanceRuleOption,
    Inputs,
    JsonOption,
    ModelOption,
    QuietOption,
    SeedOption,
    SolverOption,
    StepsOption,
)
from vtok.cli.pipes import PIPE, write_stdout
from vtok.cli.report import Report
from vtok.errors import FormatError, LengthError, ModelMismatchError, PictureError

if TYPE_CHECKING:
    import numpy as np

    from vtok.codec.container import TokenFile
    from vtok.models.decoders import DecodeOptions

_OF_ONE_FILE = (FormatError, LengthError, ModelMismatchError, PictureError)  # others would meet the next file too


def decode(
    inputs: Annotated[list[str], Inputs],
    output: Annotated[
        str | None, typer.Option("-o", "--output", help="A .png, .jpg or .webp file, a folder, or - for a PNG on standard output.")
    ] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Decode only so many tokens of each tile; default: all.")] = None,
    steps: StepsOption = None,
    solver: SolverOption = None,
    guidance: GuidanceOption = None,
    guidance_rule: GuidanceRuleOption = None,
    seed: SeedOption = None,
    model: ModelOption = None,
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Turn .vtok files into pictures. A folder keeps the names of its files: NAME.png.

    Example: vtok decode photo.vtok -o photo.png --tokens 16
    """
    loader = Loader(model, device)
    plan = plan_jobs(inputs, output, extensions=TOKEN_EXTENSIONS, suffix=".png")
    options = decode_options(steps=steps, solver=solver, guidance=guidance, guidance_rule=guidance_rule, seed=seed)
    _check_outputs(plan, output, as_json=as_json)
    with Report(len(plan.jobs), several=plan.several, as_json=as_json, quiet=quiet) as report:
        for job in plan.jobs:
            _decode_one(job, tokens, options, loader, report)
        report.finish()


def _check_outputs(plan: Jobs, output: str | None, *, as_json: bool) -> None:
    from vtok.data.pictures import check_writable

    if as_json and any(job.target is None for job in plan.jobs):
        raise typer.BadParameter(f"--json and '-o {PIPE}' would both write to standard output")
    for target in (job.target for job in plan.jobs if job.target is not None):
        check_writable(target)
    check_unused(plan, output)
    check_folders(plan, output)


def _decode_one(job: Job, tokens: int | None, options: "DecodeOptions", loader: Loader, report: Report) -> None:
    from vtok.codec.decompress import decode_file

    try:
        file, _ = read_tokens(job)
        tokenizer = loader.for_file(file)
        start = time.perf_counter()
        picture = decode_file(file, tokenizer, tokens=tokens, options=replace(options, progress=report.watch()))
    except _OF_ONE_FILE as error:
        report.failed(job, error)
        return
    _store(job, picture)
    if file.cut:
        report.warn(f"{job.name}: the file is cut; {file.lengths.mean():.4g} tokens a tile are left of it")
    record = _record(job, file, tokens, time.perf_counter() - start) | option_facts(options)
    report.done(record, _line(record))


def _store(job: Job, picture: "np.ndarray") -> None:
    from vtok.data.pictures import encode_png, write_picture

    if job.target is None:
        write_stdout(encode_png(picture))
    else:
        write_picture(job.target, picture)


def _record(job: Job, file: "TokenFile", tokens: int | None, seconds: float) -> dict[str, Any]:
    lengths = file.lengths if tokens is None else file.lengths.clip(max=tokens)
    return job_facts(job) | token_facts(file, lengths) | {"cut": file.cut, "seconds": round(seconds, 3)}


def _line(record: dict[str, Any]) -> str:
    return f"{record['file']} -> {record['output']}: {in_words(record)}, {record['seconds']:.1f} s"
