"""Adds the gateway of a site to an account, as a person does in the form."""
