"""Commands that learn and judge: train, index, publish, rollback, reindex, evaluate, tune, weights, embedders."""
