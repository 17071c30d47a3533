"""The job queue: states, scheduler, agent, supervisor, executor, metrics and logs."""
