"""What no run needs, imported before anything else of ours: it keeps the start of a run short.

pypiserver imports passlib where it is installed, which takes as long as all the rest; a run looks at no password.
"""

from __future__ import annotations

import sys

sys.modules.setdefault("passlib", None)  # type: ignore[arg-type] # as if it were not installed
