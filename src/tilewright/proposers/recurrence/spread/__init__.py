"""Plans (b) and (c): a loop's weights spread over several CTAs, or streamed past them."""
