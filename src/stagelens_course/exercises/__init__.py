"""An exercise as a learner works with it: a copy of the project, and an editor that checks it."""
