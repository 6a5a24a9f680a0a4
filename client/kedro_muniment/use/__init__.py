"""What was used, noted where it is used and told to the service."""
