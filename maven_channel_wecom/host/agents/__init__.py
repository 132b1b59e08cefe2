"""What can answer a message: `echo`, and `responses` for anything that speaks the Responses API."""
