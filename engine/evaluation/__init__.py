"""What a model is worth: splits for validation, ranking figures, baselines, segments, significance."""
