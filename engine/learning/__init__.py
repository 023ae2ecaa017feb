"""Training as the user asks for it: train, tune, automatic selection, budgets of time, and the study of all trials."""
