"""What an agent needs in order to use a Tocsin relay, and to check what the relay tells it."""
