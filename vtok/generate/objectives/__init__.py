"""What generators are trained by. The table names every objective; a module is imported when its objective is used."""

TABLE: dict[str, str] = {
    "gpt": "vtok.generate.objectives.gpt:GptObjective",
    "maskgit": "vtok.generate.objectives.maskgit:MaskgitObjective",
    "next_scale": "vtok.generate.objectives.next_scale:NextScaleObjective",
    "rar": "vtok.generate.objectives.rar:RarObjective",
}
