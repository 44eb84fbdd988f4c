"""The quantizers by name, imported when used."""

QUANTIZERS = {
    "bsq": "vtok.models.quantizers.bsq:BinarySphericalQuantizer",
    "cascade": "vtok.models.quantizers.cascade:CascadedQuantizer",
    "factorized": "vtok.models.quantizers.factorized:FactorizedQuantizer",
    "fsq": "vtok.models.quantizers.fsq:FiniteScalarQuantizer",
    "grouped": "vtok.models.quantizers.grouped:GroupedQuantizer",
    "grouped_trained": "vtok.models.quantizers.grouped_trained:TrainedGroupedQuantizer",
    "ibq": "vtok.models.quantizers.ibq:IndexBackpropagationQuantizer",
    "lfq": "vtok.models.quantizers.lfq:LookupFreeQuantizer",
    "library": "vtok.models.quantizers.library:LibraryQuantizer",
    "multi_codebook": "vtok.models.quantizers.multi_codebook:MultiCodebookQuantizer",
    "multiscale": "vtok.models.quantizers.multiscale_cumulative:CumulativeMultiscaleQuantizer",
    "multiscale_stagewise": "vtok.models.quantizers.multiscale_stagewise:StagewiseMultiscaleQuantizer",
    "residual": "vtok.models.quantizers.residual:ResidualQuantizer",
    "shared_index": "vtok.models.quantizers.shared_index:SharedIndexQuantizer",
    "simvq": "vtok.models.quantizers.simvq:SimVectorQuantizer",
    "spherical_vq": "vtok.models.quantizers.vq:SphericalVectorQuantizer",
    "symmetric_fsq": "vtok.models.quantizers.fsq:SymmetricScalarQuantizer",
    "vq": "vtok.models.quantizers.vq:VectorQuantizer",
}
