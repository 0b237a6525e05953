"""The clouds' side: what every cloud must offer, and what each of them speaks."""
