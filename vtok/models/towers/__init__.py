"""Towers: networks that say of each patch of a picture what is to be seen there, trained by others on pictures and texts."""

from vtok.models.towers.base import Shown, Tower
from vtok.models.towers.config import AnyTower, ClipConfig, SiglipConfig, TowerConfig, VitaminConfig, build

__all__ = ["AnyTower", "ClipConfig", "Shown", "SiglipConfig", "Tower", "TowerConfig", "VitaminConfig", "build"]
