"""How a Kedro project begins: what is offered, what was answered, and the files that come of both."""
