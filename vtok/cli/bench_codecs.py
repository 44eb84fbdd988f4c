"""`vtok bench-codecs`: JPEG and its successors at given sizes, measured as models are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vtok.cli.cache_latents import Kind, Split
from vtok.cli.eval_options import CountOption, parse_size
from vtok.cli.loading import torch_device
from vtok.cli.measuring import leave_with_failures
from vtok.cli.options import Device, DeviceOption, JsonOption, QuietOption
from vtok.cli.pipes import say, tell
from vtok.cli.report import Report, json_line
from vtok.errors import DataError, MissingExtraError, UnsupportedError

if TYPE_CHECKING:
    import numpy as np

    from vtok.eval.classical.codecs import Codec
    from vtok.eval.pairs.measures import Measures
    from vtok.eval.run.prepared import Picture


def bench_codecs(
    data: Annotated[str, typer.Argument(metavar="DATA", help="A folder, tars or parquet tables of pictures.", show_default=False)],
    bpp: Annotated[str, typer.Option("--bpp", metavar="0.1,0.2", help="Bits per pixel of the files, at most.")] = "0.05,0.1,0.2,0.4,0.8",
    like: Annotated[
        Path | None,
        typer.Option(
            "--like", metavar="RECORD.json", help="Files of the sizes in a record of vtok eval on the same pictures, in place of --bpp."
        ),
    ] = None,
    metrics: Annotated[str, typer.Option(metavar="NAMES", help="psnr, ssim, ms_ssim, lpips, lpips_vgg, dists.")] = "psnr,ssim",
    codecs: Annotated[
        str | None,
        typer.Option(metavar="NAMES", show_default=False, help="jpeg, jpeg2000, webp, avif, jxl; default: those that are installed."),
    ] = None,
    anchor: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default=False, help="What BD-rates are relative to; default: the record of --like, else jpeg."),
    ] = None,
    size: Annotated[str, typer.Option(metavar="PIXELS|native", help="Side of crops; native leaves pictures as they are.")] = "native",
    output: Annotated[Path | None, typer.Option("-o", "--output", metavar="FILE.json", help="Write the records here.")] = None,
    count: CountOption = None,
    kind: Annotated[Kind, typer.Option(help="What DATA is; auto looks.")] = Kind.auto,
    split: Annotated[Split, typer.Option(help="All pictures, or the part to train on or to hold out.")] = Split.all,
    device: DeviceOption = Device.auto,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure classical codecs at given sizes: for each picture the largest file that is at most so large.

    Example: vtok bench-codecs Kodak --bpp 0.1,0.2,0.4 --metrics psnr,lpips -o codecs.json
    """
    from vtok.cli.eval import check_outputs
    from vtok.data.atomic import write_bytes
    from vtok.data.sources import open_source
    from vtok.data.sources.fingerprint import fingerprint
    from vtok.eval.pairs.measures import Measures
    from vtok.eval.run.picture_set import PictureSet
    from vtok.eval.run.record_file import read_records, to_bytes

    check_outputs(output)
    chosen = _codecs(codecs)
    wanted = read_records(like)[0] if like is not None else None
    sizes = _Sizes.of_record(wanted) if wanted is not None else _Sizes.of_rates(bpp)
    source = open_source(data, kind=kind.value, split=split.value)
    pictures = PictureSet(source, Path(data).name, fingerprint(data), count, "resize_center_bicubic", parse_size(size), 1)
    measures = Measures(_names(metrics), device=torch_device(device))
    benches = [_Bench(codec, sizes, measures) for codec in chosen]
    infos = []
    with Report(1, several=False, as_json=as_json, quiet=quiet) as report:
        tell_share = report.watch()
        for number, chunk in enumerate(pictures.read(list(pictures.starts)), 1):
            infos.append(_facts(chunk))
            for place, bench in enumerate(benches):
                for picture in chunk.readable:
                    bench.add(picture)
                tell_share((number - 1 + (place + 1) / len(benches)) / len(pictures))
    records = [bench.record(pictures, infos) for bench in benches]
    others = [*records, *([wanted] if wanted is not None else [])]
    _compare(records, _anchor(anchor, others, wanted))
    if output is not None:
        write_bytes(output, to_bytes({"records": records}))
    say("\n".join(json_line(record) for record in records) if as_json else "\n".join(line for record in records for line in _table(record)))
    leave_with_failures(records[0]["data"])


@dataclass(frozen=True)
class _Sizes:
    """What is wanted: bits per pixel, or bytes of each picture by its key, row by row."""

    rates: Sequence[float]
    by_key: Mapping[str, Sequence[int]] | None = None

    @classmethod
    def of_rates(cls, text: str) -> "_Sizes":
        try:
            rates = sorted({float(part) for part in text.split(",")})
        except ValueError:
            rates = []
        if not rates or not all(0 < rate < 1000 for rate in rates):
            raise typer.BadParameter(f"--bpp takes positive numbers with commas such as 0.1,0.2, got {text!r}")
        return cls(rates)

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "_Sizes":
        rows = [row for row in record["rows"] if row["bytes"]]
        own = record.get("pictures") or {"keys": [], "bytes": {}}
        by_length = [own["bytes"].get(str(row.get("tokens")), []) for row in rows]
        if not rows or not own["keys"] or any(len(sizes) != len(own["keys"]) for sizes in by_length):
            raise DataError("--like needs a whole record of a discrete model, with the sizes of its pictures")
        return cls([row["bpp"] for row in rows], dict(zip(own["keys"], zip(*by_length, strict=True), strict=True)))

    def of(self, picture: "Picture") -> list[int]:
        """Most bytes of a picture's files."""
        height, width = picture.pixels.shape[:2]
        if self.by_key is None:
            return [int(rate * height * width / 8) for rate in self.rates]
        if picture.key not in self.by_key:
            raise DataError(f"{picture.key}: not in the record of --like, which was made on other pictures")
        return list(self.by_key[picture.key])


@dataclass(frozen=True, eq=False)
class _Bench:
    """Files of one codec and their figures, picture by picture."""

    codec: "Codec"
    sizes: _Sizes
    measures: "Measures"
    found: list[dict[str, Any]] = field(default_factory=list)

    def add(self, picture: "Picture") -> None:
        """Write and measure the files of a picture."""
        from vtok.eval.classical.matched import MatchedFiles

        files = MatchedFiles(self.codec, picture.pixels)
        against = self.measures.of(_batch(picture.pixels))
        rows = []
        for num_bytes in self.sizes.of(picture):
            file = files.within(num_bytes)
            figures = {name: float(value) for name, value in against.compare(_batch(self.codec.decode(file.data))).items()}
            rows.append({"bytes": len(file.data), "floor": file.floor, "quality": file.quality, "figures": figures})
        self.found.append({"key": picture.key, "num_pixels": picture.pixels[..., 0].size, "rows": rows})

    def record(self, pictures: Any, infos: list[dict[str, Any]]) -> dict[str, Any]:
        """Means over pictures in the shape of the records of `vtok eval`."""
        from vtok.eval.run.record import numerics, set_facts

        facts = set_facts(infos)
        if not self.found:
            raise DataError(f"{pictures.name}: no picture could be read; {facts['failed'][0][1] if facts['failed'] else 'it is empty'}")
        crop = None if pictures.size is None else pictures.crop
        return {
            "vtok_eval": 1,
            "subject": self.codec.describe(),
            "data": {"name": pictures.name, "crop": crop, "size": pictures.size} | facts,
            "protocol": {"measures": self.measures.describe()} | numerics(str(self.measures.device)),
            "rows": [self._row(number, rate) for number, rate in enumerate(self.sizes.rates)],
            "pictures": self._pictures(),
        }

    def _row(self, number: int, rate: float) -> dict[str, Any]:
        import torch

        from vtok.eval.run.picture_values import PictureValues
        from vtok.eval.run.record import mean_facts

        own = [picture["rows"][number] for picture in self.found]
        rates = [8 * row["bytes"] / picture["num_pixels"] for row, picture in zip(own, self.found, strict=True)]
        metrics = {}
        for name in self.measures.names:
            values = PictureValues()
            values.update(torch.arange(len(own)), torch.tensor([row["figures"][name] for row in own], dtype=torch.float64))
            metrics[name] = mean_facts(values.compute())
        sizes = {"bytes": sum(row["bytes"] for row in own) / len(own), "bpp": sum(rates) / len(own)}
        return {"wanted_bpp": rate} | sizes | {"floor": sum(row["floor"] for row in own), "metrics": metrics}

    def _pictures(self) -> dict[str, Any]:
        columns = range(len(self.sizes.rates))
        values = {
            name: {str(n): [picture["rows"][n]["figures"][name] for picture in self.found] for n in columns} for name in self.measures.names
        }
        sizes = {str(n): [picture["rows"][n]["bytes"] for picture in self.found] for n in columns}
        shapes = {"keys": [picture["key"] for picture in self.found], "num_pixels": [picture["num_pixels"] for picture in self.found]}
        return shapes | {"bytes": sizes, "values": values}


def _compare(records: Sequence[dict[str, Any]], anchor: Mapping[str, Any] | None) -> None:
    """Put BD-rates into the records, in percent of the anchor's bits by metric; None with a reason where curves have nothing in common."""
    from vtok.eval.curves.bd_rate import bd_rate, quality_points
    from vtok.eval.pairs.measures import TABLE

    if anchor is None:
        return
    for record in records:
        found: dict[str, Any] = {}
        for metric in record["rows"][0]["metrics"]:
            own, other = (quality_points(one["rows"], metric, higher_is_better=TABLE[metric].higher_is_better) for one in (record, anchor))
            try:
                found[metric] = {"percent": bd_rate(own, other).value}
            except DataError as error:
                found[metric] = {"percent": None, "reason": str(error)}
        record["bd_rate"] = {"anchor": anchor["subject"]["name"], "metrics": found}


def _anchor(name: str | None, records: Sequence[Mapping[str, Any]], wanted: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    if name is None:
        return wanted or next((record for record in records if record["subject"]["name"] == "jpeg"), None)
    found = next((record for record in records if record["subject"]["name"] == name), None)
    if found is None:
        raise UnsupportedError(f"--anchor {name}: not measured; there are {', '.join(record['subject']['name'] for record in records)}")
    return found


def _codecs(names: str | None) -> "list[Codec]":
    """Those that were named, which must be there, or all that are, with a word of those that are not."""
    from vtok.eval.classical.codecs import TABLE

    chosen = []
    for name in _names(names) if names is not None else TABLE:
        if name not in TABLE:
            raise UnsupportedError(f"no codec {name!r}; there are {', '.join(TABLE)}")
        try:
            TABLE[name].library()
        except MissingExtraError as error:
            if names is not None:
                raise
            tell(f"vtok: without {TABLE[name].title}: {error}")
            continue
        chosen.append(TABLE[name])
    return chosen


def _table(record: Mapping[str, Any]) -> list[str]:
    from vtok.eval.pairs.measures import TABLE

    names = list(record["rows"][0]["metrics"])
    heads = "".join(f"{TABLE[name].label:>10}" for name in names)
    lines = [f"{record['subject']['title']} ({record['subject']['library']['encoder']})", f"{'bpp':>8}{'wanted':>9}{'bytes':>10}{heads}"]
    for row in record["rows"]:
        cells = "".join(f"{row['metrics'][name]['value']:>10{TABLE[name].form}}" for name in names)
        floor = f"  smallest of {row['floor']} of {record['data']['pictures']} pictures" if row["floor"] else ""
        lines.append(f"{row['bpp']:>8.4f}{row['wanted_bpp']:>9.4f}{row['bytes']:>10,.0f}{cells}{floor}")
    for name, own in record.get("bd_rate", {}).get("metrics", {}).items():
        said = f"{own['percent']:+.1f} %" if own["percent"] is not None else f"none: {own['reason']}"
        lines.append(f"  BD-rate by {TABLE[name].label} against {record['bd_rate']['anchor']}: {said}")
    return lines


def _facts(chunk: Any) -> dict[str, Any]:
    from vtok.eval.run.features import facts_of

    return facts_of(chunk)


def _batch(pixels: "np.ndarray") -> Any:
    from vtok.eval.run.batches import as_tensor

    return as_tensor(pixels[None])


def _names(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
