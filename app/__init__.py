"""The relay: it waits and watches once for everybody, then rings each of them."""
