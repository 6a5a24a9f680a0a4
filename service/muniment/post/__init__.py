"""What leaves the service: mails to people, whatever else nobody has to fetch, and files as they are taken out."""
