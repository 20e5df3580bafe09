"""Messages that agents publish: to themselves, and to agents that listen to them."""
