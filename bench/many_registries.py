"""An app with as many registries as the second argument says; prints how long they took once everything is loaded."""

import sys
import time

import cdk8s

from cdk8s_pypiserver import PyPIServerChart

target, count = sys.argv[1], int(sys.argv[2])
begun = time.perf_counter()
app = cdk8s.App(outdir=target)
for each in range(count):
    PyPIServerChart(app, f"registry-{each}")
app.synth()
print(time.perf_counter() - begun)
