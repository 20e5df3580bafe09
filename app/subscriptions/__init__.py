"""Who wants to know: sources, filters, subscriptions, and what was seen for them."""
