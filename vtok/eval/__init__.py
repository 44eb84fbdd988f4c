"""How good are pictures, codes and samples? Nothing is exported here: PSNR needs no torch, LPIPS does.

`pairs` compares a picture with another, `distributions` a set with a set by the features of `backbones`; `codes` counts ids, `downstream`
asks what tokens are good for, `protocol` holds what published evaluations do to pictures first, `curves` draws and compares the results.
"""
