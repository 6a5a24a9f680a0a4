"""Projects as the service makes them: taken whole, and brought up to date later."""
