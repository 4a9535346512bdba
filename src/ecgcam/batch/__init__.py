"""Many recordings: which they are, where their results go, and running them."""
