"""pypiserver without its web application, imported before anything else of ours: it keeps the start of a run short.

A run asks pypiserver what the names of files say. The application, and whatever it imports, takes as long as the rest.
"""

from __future__ import annotations

import sys
from importlib.util import find_spec, module_from_spec

if found := find_spec("pypiserver"):
    # Its modules can be imported from it all the same.
    sys.modules.setdefault("pypiserver", module_from_spec(found))
