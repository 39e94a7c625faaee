"""Who may read and who may publish."""
