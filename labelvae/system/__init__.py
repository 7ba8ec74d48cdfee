"""What the library asks of the machine: memory, compiling, files written whole, and a process left as it was."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
