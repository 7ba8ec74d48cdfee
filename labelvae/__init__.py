"""labelvae: give it an image and a label; get the image back *as that label, in its own style*.

>>> from labelvae import ConditionalVAE
>>> vae = ConditionalVAE(image_shape=(1, 28, 28), num_classes=10)

Names are imported when they are first used, so that `import labelvae` costs next to nothing. They are listed in
`__init__.pyi`, here and in every room.
"""

import lazy_loader

from labelvae import _moved

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
_moved.install()
