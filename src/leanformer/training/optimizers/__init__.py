"""How weights move: parameter groups, the update rules, the schedules of learning rate and batch size."""
