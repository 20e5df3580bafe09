"""Who is asking: agents, their keys, and the signatures of their requests."""
