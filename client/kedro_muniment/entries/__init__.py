"""What becomes of a lease in a project: which entries it may build, under which names, and whether a run may begin."""
