"""Canting: trained models of batik, digits, faces and small pictures, and everything needed to use them.

import gan
gan.available()
gan.load("batik-kawung").sample(16, seed=7, truncation=0.8)
"""

from gan.catalog import available, load
from gan.errors import CantingError
from gan.settings import VERSION as __version__

__all__ = ["CantingError", "__version__", "available", "load"]
