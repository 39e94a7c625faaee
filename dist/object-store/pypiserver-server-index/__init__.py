"""What is listed, and how it looks."""
