"""Who did what: lines for an auditor, written before a change is acknowledged."""
