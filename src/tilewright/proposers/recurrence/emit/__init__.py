"""A network with planned loops as the text of a ModelNew file."""
