"""Fine-tuning: strict specs, the run over TRL under torchrun, and checkpoints that are whole or not there."""
