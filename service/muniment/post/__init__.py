"""What leaves the service by itself: mails to people, and whatever else nobody has to fetch."""
