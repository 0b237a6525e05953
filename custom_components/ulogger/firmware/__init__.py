"""The firmware image: ELF, source lines, symbols and format strings."""
