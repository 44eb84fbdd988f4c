"""`vtok encode`: pictures to .vtok files."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtok.cli.facts import in_words, job_facts, token_facts
from vtok.cli.jobs import Job, Jobs, check_folders, plan_jobs
from vtok.cli.loading import Loader
from vtok.cli.options import Device, DeviceOption, Inputs, JsonOption, ModelOption, OverlapOption, QuietOption
from vtok.cli.pipes import PIPE, read_stdin, write_stdout
from vtok.cli.report import Report
from vtok.errors import OutputError, PictureError, VtokError

if TYPE_CHECKING:
    import numpy as np

    from vtok.codec.container import TokenFile
    from vtok.codec.request import Rate

BATCH_PIXELS = 4_000_000  # of the pictures that are in memory at once, unless one alone has more


def encode(
    inputs: Annotated[list[str], Inputs],
    output: Annotated[str | None, typer.Option("-o", "--output", help="A .vtok file, a folder, or - for standard output.")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Tokens for each tile; default: all.")] = None,
    num_bytes: Annotated[int | None, typer.Option("--bytes", min=1, help="Most bytes of each file, spent where they help most.")] = None,
    bpp: Annotated[float | None, typer.Option(help="Most bits per pixel of each file, spent where they help most.")] = None,
    psnr: Annotated[float | None, typer.Option(help="PSNR in dB to reach with the fewest bytes.")] = None,
    whole: Annotated[bool, typer.Option("--whole", help="One string for the whole picture, resized, in place of tiles.")] = False,
    overlap: OverlapOption = None,
    caption: Annotated[str | None, typer.Option(help="A text of at most 4096 bytes to store in each file.")] = None,
    model: ModelOption = None,
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Turn pictures into .vtok files. A folder keeps the names of its pictures: NAME.vtok.

    Example: vtok encode photo.jpg -o photo.vtok --bpp 0.1
    """
    from vtok.data.pictures import PICTURE_EXTENSIONS

    encoder = _Encoder(Loader(model, device), _rate(tokens, num_bytes, bpp, psnr), whole, overlap, _checked(caption))
    plan = plan_jobs(inputs, output, extensions=PICTURE_EXTENSIONS, suffix=".vtok")
    _check_outputs(plan, as_json=as_json)
    check_folders(plan, output)
    with Report(len(plan.jobs), several=plan.several, as_json=as_json, quiet=quiet) as report:
        for batch in _batches(plan.jobs, report):
            encoder.encode(batch, report)
        report.finish()


def _check_outputs(plan: Jobs, *, as_json: bool) -> None:
    from vtok.data.pictures import PICTURE_EXTENSIONS

    for target in (job.target for job in plan.jobs):
        if as_json and target is None:
            raise typer.BadParameter(f"--json and '-o {PIPE}' would both write to standard output")
        if target is not None and target.suffix.lower() in PICTURE_EXTENSIONS:
            raise OutputError(f"{target}: a .vtok file is no picture; name it {target.with_suffix('.vtok').name}")


def _rate(tokens: int | None, num_bytes: int | None, bpp: float | None, psnr: float | None) -> "Rate":
    from vtok.codec.request import Rate

    given = {"--tokens": tokens, "--bytes": num_bytes, "--bpp": bpp, "--psnr": psnr}
    names = [name for name, value in given.items() if value is not None]
    if len(names) > 1:
        raise typer.BadParameter(f"{' and '.join(names)} exclude each other; give one")
    try:
        return Rate(tokens=tokens, num_bytes=num_bytes, bpp=bpp, psnr=psnr)
    except ValueError as error:
        raise typer.BadParameter(f"--{error}") from None


def _checked(caption: str | None) -> str | None:
    from vtok.codec.chunks import write_chunks

    if caption is not None:
        write_chunks(caption)  # raises what is wrong with it before any picture is read
    return caption


Picture = tuple[Job, "np.ndarray"]  # (H, W, 3) uint8


def _batches(jobs: Sequence[Job], report: Report) -> Iterator[list[Picture]]:
    from vtok.data.pictures import read_picture

    batch: list[Picture] = []
    num_pixels = 0
    for job in jobs:
        try:
            picture = read_picture(read_stdin() if job.source is None else job.source, name=job.name)
        except PictureError as error:
            report.failed(job, error)
            continue
        num_pixels += picture.shape[0] * picture.shape[1]
        if batch and num_pixels > BATCH_PIXELS:
            yield batch
            batch, num_pixels = [], picture.shape[0] * picture.shape[1]
        batch.append((job, picture))
    if batch:
        yield batch


@dataclass(frozen=True)
class _Encoder:
    loader: Loader
    rate: "Rate"
    whole: bool
    overlap: int | None
    caption: str | None

    def encode(self, batch: Sequence[Picture], report: Report) -> None:
        from vtok.codec.compress import encode_pictures

        tokenizer = self.loader.tokenizer
        if self.rate.tokens is not None:
            tokenizer.spec.check_length(self.rate.tokens)
        tokenizer.decoded_overlap(self.overlap or 0)  # these two would be wrong for all pictures
        start = time.perf_counter()
        pictures = [picture for _, picture in batch]
        try:
            captions = [self.caption] * len(batch)
            files = encode_pictures(pictures, tokenizer, self.rate, whole=self.whole, overlap=self.overlap, captions=captions)
        except VtokError as error:
            if len(batch) == 1:
                report.failed(batch[0][0], error)
            else:  # find out which of them it was
                for one in batch:
                    self.encode([one], report)
            return
        seconds = (time.perf_counter() - start) / len(batch)
        for (job, picture), file in zip(batch, files, strict=True):
            self._store(job, file)
            reached = self._psnr(picture, file)
            report.done(record := _record(job, file, reached, seconds), _line(record))

    def _store(self, job: Job, file: "TokenFile") -> None:
        from vtok.codec.container import write

        if job.target is None:
            write_stdout(file.to_bytes())
        else:
            write(job.target, file)

    def _psnr(self, picture: "np.ndarray", file: "TokenFile") -> float | None:
        if self.rate.psnr is None:
            return None
        from vtok.codec.decompress import decode_file
        from vtok.eval.pairs.psnr import psnr

        return psnr(picture, decode_file(file, self.loader.tokenizer))


def _record(job: Job, file: "TokenFile", psnr: float | None, seconds: float) -> dict[str, Any]:
    cost = {"bytes": file.num_bytes, "bpp": 8 * file.num_bytes / (file.size[0] * file.size[1])}
    return job_facts(job) | token_facts(file, file.lengths) | cost | {"psnr": psnr, "seconds": round(seconds, 3)}


def _line(record: dict[str, Any]) -> str:
    reached = "" if record["psnr"] is None else f", {record['psnr']:.2f} dB"
    cost = f"{record['bytes']:,} bytes, {record['bpp']:.3g} bpp"
    return f"{record['file']} -> {record['output']}: {in_words(record)}, {cost}{reached}, {record['seconds']:.1f} s"
