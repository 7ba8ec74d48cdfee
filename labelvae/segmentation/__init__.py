"""Segmentation: a U-Net that says of every pixel what it shows, its data, losses, training and scores."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
