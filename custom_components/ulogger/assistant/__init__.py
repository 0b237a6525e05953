"""What language models may ask of an account, where an administrator has allowed it."""
