"""The pages: plain HTML that works without scripts, for people who are signed in with a browser.

They stand beside the JSON doors and share the flows with them, never code. A browser's
cookie opens these doors and no other.
"""
