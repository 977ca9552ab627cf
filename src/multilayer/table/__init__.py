"""A table becomes arrays: read it, infer its schema, encode its rows, split them."""
