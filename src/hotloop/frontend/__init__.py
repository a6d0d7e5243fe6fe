"""What users write: traced values and arrays, control flow, gradients, targets."""
