"""The volume of a mask under its short name, for other programs; its room is `hepred_lib.imaging.volume`."""

from hepred_lib.imaging.volume import mask_volume_ml

__all__ = ["mask_volume_ml"]
