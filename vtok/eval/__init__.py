"""Measures of decoded pictures. Nothing is exported here: PSNR needs no torch, LPIPS does."""
