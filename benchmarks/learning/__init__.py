"""Learning runs: a task, learners, three seeds each, a table and a curve."""
