"""The objectives of tokenizers by name: one file each."""

TABLE = {
    "flextok": "vtok.train.objectives.flextok:FlextokObjective",
    "fqgan": "vtok.train.objectives.fqgan:FqganObjective",
    "linear": "vtok.train.objectives.linear:LinearObjective",
    "llamagen_vq": "vtok.train.objectives.llamagen_vq:LlamagenVqObjective",
    "nested": "vtok.train.objectives.nested:NestedObjective",
    "tatitok": "vtok.train.objectives.tatitok:TaTitokObjective",
    "tatitok_vae": "vtok.train.objectives.tatitok:TaTitokVaeObjective",
    "titok_pixel": "vtok.train.objectives.titok_pixel:TitokPixelObjective",
    "titok_stage1": "vtok.train.objectives.titok_stage1:TitokStage1Objective",
    "titok_stage2": "vtok.train.objectives.titok_stage2:TitokStage2Objective",
    "titok_vae": "vtok.train.objectives.titok_vae:TitokVaeObjective",
    "tokenflow": "vtok.train.objectives.tokenflow:TokenflowObjective",
    "tokenflow_decoder": "vtok.train.objectives.tokenflow_decoder:TokenflowDecoderObjective",
    "vae": "vtok.train.objectives.vae:VaeObjective",
}
