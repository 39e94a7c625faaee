"""The baseline of a synth: what any cdk8s app pays, and ten Services."""

import sys

import cdk8s
import cdk8s_plus_27 as kplus

app = cdk8s.App(outdir=sys.argv[1])
chart = cdk8s.Chart(app, "services")
for each in range(10):
    kplus.Service(chart, f"service-{each}", ports=[kplus.ServicePort(port=80)])
app.synth()
