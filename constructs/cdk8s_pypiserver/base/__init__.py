"""What every concern builds on: specs, names and labels, objects, configuration files."""
