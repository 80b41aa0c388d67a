"""Images: the whole updatable firmware of a board as one ROMFS file system."""

from tidegate.image.build import Identity, Progress, Tree, build_image, compile_module, compile_source, pack
from tidegate.image.relink import relink_module

__all__ = ["Identity", "Progress", "Tree", "build_image", "compile_module", "compile_source", "pack", "relink_module"]
