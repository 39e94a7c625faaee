"""Several pods: autoscaler, disruption budget, spread."""
