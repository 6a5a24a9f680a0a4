"""Muniment: which data may this person use, and why? The service."""
