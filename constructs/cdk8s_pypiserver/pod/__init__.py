"""The pod: its containers, and what is on all of them."""
