"""Moving packages in and out: `python -m cdk8s_pypiserver copy`, which needs the extra `copy`.

No construct loads it, and it loads none: neither waits for the other, and copying needs no Node.js.
"""
