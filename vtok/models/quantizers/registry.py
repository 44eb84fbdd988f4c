"""The quantizers by name, imported when used."""

QUANTIZERS = {
    "fsq": "vtok.models.quantizers.fsq:FiniteScalarQuantizer",
    "grouped": "vtok.models.quantizers.grouped:GroupedQuantizer",
    "grouped_trained": "vtok.models.quantizers.grouped_trained:TrainedGroupedQuantizer",
    "spherical_vq": "vtok.models.quantizers.vq:SphericalVectorQuantizer",
    "vq": "vtok.models.quantizers.vq:VectorQuantizer",
}
