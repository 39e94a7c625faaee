"""What looks after the packages while nobody does: backup and its drill, restore, retention."""
