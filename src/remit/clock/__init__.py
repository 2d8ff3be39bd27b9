"""Where steps come from: a harness outside the boundary says when each tool call begins and ends."""
