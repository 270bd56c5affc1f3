"""What a request brings: its body, read within limits, and its fields, checked."""
