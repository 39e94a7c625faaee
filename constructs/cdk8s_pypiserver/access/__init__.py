"""Who may do what, and who may reach whom."""
