"""Getting it there: endpoints, deliveries, attempts."""
