"""How the program starts, and what it says of itself to the pod."""
