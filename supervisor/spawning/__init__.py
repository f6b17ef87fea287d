"""How instances come to be: the one recipe, its ways from nothing and from the pool, its batches and its undoing."""
