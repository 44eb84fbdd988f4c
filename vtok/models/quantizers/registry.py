"""The quantizers by name, imported when used."""

QUANTIZERS = {
    "grouped": "vtok.models.quantizers.grouped:GroupedQuantizer",
}
