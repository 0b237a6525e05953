"""What a browser asks for beside the entities: downloads."""
