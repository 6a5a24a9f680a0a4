"""A steward's side of the wire: files on the steward's machine, and a running service over HTTP; no database."""
