"""What Prometheus and Grafana get."""
